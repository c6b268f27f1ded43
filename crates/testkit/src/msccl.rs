//! Owns programs in MSCCL's form, of the kinds that its tools write, for any number of GPUs.

use std::fmt::Write;

/// What is put together to a program.
struct Text {
    text: String,
    step: u32,
}

/// A step: type, source, destination, count, and what it waits for.
type Step<'a> = (&'a str, (char, u32), (char, u32), u32, Option<(u32, u32)>);

impl Text {
    fn new(name: &str, coll: &str, gpus: u32, chunks: u32, in_place: bool) -> Self {
        let (inside, outside) = (u8::from(in_place), u8::from(!in_place));
        let mut text = String::new();
        let _ = writeln!(
            text,
            "<algo name=\"{name}\" proto=\"Simple\" nchannels=\"1\" nchunksperloop=\"{chunks}\" ngpus=\"{gpus}\" \
             coll=\"{coll}\" inplace=\"{inside}\" outofplace=\"{outside}\" minBytes=\"0\" maxBytes=\"0\">"
        );
        Self { text, step: 0 }
    }

    fn gpu(&mut self, id: u32, (input, output, scratch): (u32, u32, u32)) {
        let _ = writeln!(
            self.text,
            "  <gpu id=\"{id}\" i_chunks=\"{input}\" o_chunks=\"{output}\" s_chunks=\"{scratch}\">"
        );
    }

    fn block(&mut self, id: u32, send: Option<u32>, recv: Option<u32>) {
        let peer = |peer: Option<u32>| peer.map_or(-1, i64::from);
        let (send, recv) = (peer(send), peer(recv));
        let _ =
            writeln!(self.text, "    <tb id=\"{id}\" send=\"{send}\" recv=\"{recv}\" chan=\"0\">");
        self.step = 0;
    }

    fn step(&mut self, (kind, src, dst, count, after): Step<'_>) {
        let (block, step) = after.map_or((-1, -1), |(b, s)| (i64::from(b), i64::from(s)));
        let _ = writeln!(
            self.text,
            "      <step s=\"{}\" type=\"{kind}\" srcbuf=\"{}\" srcoff=\"{}\" dstbuf=\"{}\" dstoff=\"{}\" \
             cnt=\"{count}\" depid=\"{block}\" deps=\"{step}\" hasdep=\"1\"/>",
            self.step, src.0, src.1, dst.0, dst.1
        );
        self.step += 1;
    }

    fn end(&mut self, what: &str) {
        let _ = writeln!(self.text, "{what}");
    }

    fn finish(mut self) -> String {
        self.end("</algo>");
        self.text
    }
}

/// An all_reduce in place, around one ring.
pub fn ring_all_reduce(gpus: u32) -> String {
    let mut text = Text::new("ring", "allreduce", gpus, gpus, true);
    for gpu in 0..gpus {
        let chunk = |back: u32| ('i', (gpu + gpus - back % gpus) % gpus);
        text.gpu(gpu, (gpus, 0, 0));
        text.block(0, Some((gpu + 1) % gpus), Some((gpu + gpus - 1) % gpus));
        text.step(("s", chunk(0), chunk(0), 1, None));
        (1..gpus - 1).for_each(|k| text.step(("rrs", chunk(k), chunk(k), 1, None)));
        text.step(("rrcs", chunk(gpus - 1), chunk(gpus - 1), 1, None));
        for k in 0..gpus - 1 {
            let kind = if k + 2 < gpus { "rcs" } else { "r" };
            text.step((kind, chunk(k), chunk(k), 1, None));
        }
        text.end("    </tb>\n  </gpu>");
    }
    text.finish()
}

/// An all_reduce in place where each GPU reduces one chunk of `parts` parts for all: its thread blocks wait
/// for each other, and what comes lies in scratch memory meanwhile.
pub fn pairs_all_reduce(gpus: u32, parts: u32) -> String {
    let mut text = Text::new("pairs", "allreduce", gpus, gpus * parts, true);
    for gpu in 0..gpus {
        let peers: Vec<u32> = (0..gpus).filter(|&peer| peer != gpu).collect();
        text.gpu(gpu, (gpus * parts, 0, (gpus - 1) * parts));
        let (own, last) = (('i', gpu * parts), gpus - 1);
        let reduces = (gpus - 1) * parts + gpus - 2;
        for (&peer, id) in peers.iter().zip(0..) {
            let theirs = ('i', peer * parts);
            text.block(id, Some(peer), Some(peer));
            text.step(("s", theirs, ('s', 0), parts, None));
            text.step(("r", own, ('s', id * parts), parts, None));
            text.step(("s", own, own, parts, Some((last, reduces - 1))));
            text.step(("r", theirs, theirs, parts, None));
            text.end("    </tb>");
        }
        text.block(last, None, None);
        for id in 1..last {
            text.step(("nop", ('i', 0), ('o', 0), 0, Some((id, 1))));
        }
        for chunk in 0..(gpus - 1) * parts {
            let after = (chunk == 0).then_some((0, 1));
            text.step(("re", ('s', chunk), ('i', own.1 + chunk % parts), 1, after));
        }
        text.end("    </tb>\n  </gpu>");
    }
    text.finish()
}

/// An all_gather around a ring, each GPU's block in `parts` parts; what comes goes through scratch memory.
pub fn ring_all_gather(gpus: u32, parts: u32) -> String {
    let mut text = Text::new("gather", "allgather", gpus, gpus * parts, false);
    for gpu in 0..gpus {
        let block = |back: u32| (gpu + gpus - back) % gpus * parts;
        text.gpu(gpu, (parts, gpus * parts, (gpus - 1) * parts));
        text.block(0, Some((gpu + 1) % gpus), Some((gpu + gpus - 1) % gpus));
        for part in 0..parts {
            text.step(("s", ('i', part), ('o', block(0) + part), 1, None));
        }
        for back in 1..gpus {
            // From the last part on, so that scratch chunks and parts have other numbers.
            for part in 0..parts {
                let scratch = ('s', (back - 1) * parts + (part + 1) % parts);
                text.step(("r", ('o', 0), scratch, 1, None));
                if back + 1 < gpus {
                    text.step(("s", scratch, ('o', 0), 1, None));
                }
                text.step(("cpy", scratch, ('o', block(back) + part), 1, None));
            }
        }
        text.end("    </tb>");
        text.block(1, None, None);
        text.step(("cpy", ('i', 0), ('o', block(0)), parts, None));
        text.end("    </tb>\n  </gpu>");
    }
    text.finish()
}

/// An all_to_all with a thread block for each peer.
pub fn direct_all_to_all(gpus: u32, parts: u32) -> String {
    let mut text = Text::new("direct", "alltoall", gpus, gpus * parts, false);
    for gpu in 0..gpus {
        text.gpu(gpu, (gpus * parts, gpus * parts, 0));
        for peer in 0..gpus {
            let (theirs, ours) = (('i', peer * parts), ('o', peer * parts));
            if peer == gpu {
                text.block(peer, None, None);
                text.step(("cpy", theirs, ours, parts, None));
            } else {
                text.block(peer, Some(peer), Some(peer));
                text.step(("s", theirs, ('o', gpu * parts), parts, None));
                text.step(("r", ('i', gpu * parts), ours, parts, None));
            }
            text.end("    </tb>");
        }
        text.end("  </gpu>");
    }
    text.finish()
}
