//! Owns the codes of errors: what each means, what usually causes it, who has to act and what to do.

use std::fmt;
use std::str::FromStr;

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blame {
    /// The program that called.
    Caller,
    /// Another rank.
    Peer,
    /// The network between ranks.
    Network,
    /// This host or its settings.
    Host,
    /// This library.
    Ourselves,
}

impl Blame {
    /// Its name, for messages.
    ///
    /// ```
    /// use crosstie::Blame;
    ///
    /// assert_eq!(Blame::Peer.name(), "a peer");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Caller => "the caller",
            Self::Peer => "a peer",
            Self::Network => "the network",
            Self::Host => "this host",
            Self::Ourselves => "this library",
        }
    }
}

/// An error's stable name, `CT-001` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CT-{:03}", self.0)
    }
}

/// Reads `CT-060`, `ct-60` and `60` alike.
impl FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let prefix = text.get(..2).filter(|prefix| prefix.eq_ignore_ascii_case("ct"));
        let number = if prefix.is_some() { &text[2..] } else { text };
        let number = number.strip_prefix('-').filter(|_| prefix.is_some()).unwrap_or(number);
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let code = if plain { number.parse().ok() } else { None };
        code.map(Code).ok_or_else(|| format!("{text:?} is no code; they look like CT-060"))
    }
}

impl Code {
    /// Every code that this version knows, in ascending order.
    ///
    /// ```
    /// use crosstie::Code;
    ///
    /// assert!(Code::all().is_sorted() && Code::all().any(|code| code == Code(60)));
    /// ```
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(|entry| Self(entry.number))
    }

    /// What stands behind the code; `None` for a number that is none.
    ///
    /// ```
    /// use crosstie::Code;
    ///
    /// let code: Code = "CT-060".parse()?;
    /// assert!(code.explanation().is_some());
    /// assert!(Code(999).explanation().is_none());
    /// # Ok::<(), String>(())
    /// ```
    pub fn explanation(self) -> Option<&'static Explanation> {
        ENTRIES.iter().find(|entry| entry.number == self.0)
    }
}

/// What stands behind a code; its `Display` is the page that `crosstie explain` prints.
#[derive(Debug)]
pub struct Explanation {
    pub(super) number: u16,
    /// The error in a few words.
    pub title: &'static str,
    /// Who has to act.
    pub blame: Blame,
    /// What to do, in one line.
    pub remedy: &'static str,
    /// What it means: a paragraph.
    pub meaning: &'static str,
    /// What usually causes it, the most frequent first; a line each.
    pub causes: &'static [&'static str],
}

impl Explanation {
    /// The code.
    ///
    /// ```
    /// use crosstie::Code;
    ///
    /// let page = Code(60).explanation().unwrap();
    /// assert_eq!(page.code(), Code(60));
    /// ```
    pub fn code(&self) -> Code {
        Code(self.number)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}\n\n{}\n\nUsual causes:", self.code(), self.title, self.meaning)?;
        self.causes.iter().try_for_each(|cause| writeln!(f, "  - {cause}"))?;
        write!(f, "\nWho has to act: {}.\nWhat to do: {}.", self.blame.name(), self.remedy)
    }
}

/// The page of a number that this crate gave out.
pub(super) fn entry(number: u16) -> &'static Explanation {
    let page = Code(number).explanation().or(Code(NAMELESS).explanation());
    page.expect("the table has a page for failures without a name")
}

const NAMELESS: u16 = 69;

const ENTRIES: &[Explanation] = &[
    Explanation {
        number: 1,
        title: "an argument does not fit the operation",
        blame: Blame::Caller,
        remedy: "correct the argument that the message names: a buffer's length, a count, a root or a peer",
        meaning: "A call was refused before anything was sent, because the length of a buffer, a rank or a count \
                  cannot be right. The communicator is unharmed: make the call again with other arguments.",
        causes: &[
            "send and recv of different lengths where the operation wants them equal",
            "a buffer of parts, one for each rank, whose length is no multiple of size()",
            "a root or a peer that is no rank of the communicator: ranks run from 0 to size() - 1",
            "as many counts as ranks are needed, one for each",
            "a reduction without an operation, or of a type that cannot be reduced so",
        ],
    },
    Explanation {
        number: 2,
        title: "a setting cannot be understood",
        blame: Blame::Caller,
        remedy: "correct the setting, or unset it",
        meaning: "A setting, from the environment or from the builder, has a value that it cannot have, or one that \
                  contradicts the world that was found.",
        causes: &[
            "a time without a known unit: write 30s, 500ms or 2m",
            "shared memory asked for ranks on several nodes",
            "a slot size that is no multiple of 64 bytes",
        ],
    },
    Explanation {
        number: 3,
        title: "rank, size or meeting place cannot be told",
        blame: Blame::Caller,
        remedy: "start the ranks with `crosstie run`, mpirun, srun or torchrun, or set CROSSTIE_RANK, CROSSTIE_SIZE \
                 and a place to meet",
        meaning: "Nothing says which rank this process is, or what is said contradicts itself. A world of one that \
                  should have been many is refused rather than run by mistake.",
        causes: &[
            "the program was started by hand, without a launcher",
            "only some of CROSSTIE_RANK, CROSSTIE_SIZE and CROSSTIE_ROOT are set",
            "the launcher's variables did not reach the process (env -i, sudo, a container)",
        ],
    },
    Explanation {
        number: 4,
        title: "the assignment of ranks to nodes cannot be planned for",
        blame: Blame::Caller,
        remedy: "start fewer ranks",
        meaning: "The ranks met, but there are more of them, or of their nodes, than plans can name.",
        causes: &["a size beyond the limit that the message names"],
    },
    Explanation {
        number: 5,
        title: "the memory limit forbids what is needed",
        blame: Blame::Caller,
        remedy: "raise CROSSTIE_MEMORY_LIMIT, or need less: smaller slots (CROSSTIE_SLOT_BYTES), fewer buffers",
        meaning: "A communicator may allocate no more than the setting memory_limit says: slots as far as they can \
                  grow, scratch memory of calls, buffers of alloc. The message says for what how much was needed, and \
                  how much is in use. Nothing was allocated. A call or an alloc that was refused has done nothing: \
                  free buffers and make it again.",
        causes: &[
            "a limit below what the slots of all peers need: a rank's grow with the number of ranks",
            "buffers of alloc that were kept",
            "an operation in place, or an algorithm, that needs scratch memory: try another (CROSSTIE_ALGORITHM)",
        ],
    },
    Explanation {
        number: 10,
        title: "ranks did not come to the meeting",
        blame: Blame::Peer,
        remedy: "see why the ranks named did not start or cannot reach the meeting's host; CROSSTIE_INIT_TIMEOUT \
                 gives slow ones longer",
        meaning: "Some ranks had not come when the first of those who came had waited for CROSSTIE_INIT_TIMEOUT. \
                  They are named, and so are strangers that were turned away meanwhile.",
        causes: &[
            "a rank failed before it connected: its own output tells",
            "a rank has another secret or unique id, and was turned away as a stranger",
            "a firewall between the rank and the meeting's host",
            "fewer processes were started than the size says",
        ],
    },
    Explanation {
        number: 11,
        title: "two processes say that they are the same rank",
        blame: Blame::Caller,
        remedy: "give each process a rank of its own",
        meaning: "Two processes came to one meeting with the same rank. Both are named with host and process id.",
        causes: &[
            "CROSSTIE_RANK set alike for all, in a shell profile or a job script",
            "a process of an earlier start that still lives and meets at the same place",
        ],
    },
    Explanation {
        number: 12,
        title: "processes disagree about the number of ranks",
        blame: Blame::Caller,
        remedy: "give all ranks the same size, and each job an id of its own",
        meaning: "Two processes came to one meeting and were told different sizes of the world.",
        causes: &[
            "CROSSTIE_SIZE differs between hosts",
            "two jobs that share CROSSTIE_ROOT and CROSSTIE_SECRET run at once",
        ],
    },
    Explanation {
        number: 13,
        title: "the ranks do not agree on their settings",
        blame: Blame::Caller,
        remedy: "give all ranks the same settings and the same release",
        meaning: "Settings from which plans are made must be alike on all ranks, for every rank makes its own plan. \
                  The groups that agree, and the settings in which they differ, are named.",
        causes: &[
            "a CROSSTIE_ variable set on one host only",
            "another release of crosstie on one host",
        ],
    },
    Explanation {
        number: 14,
        title: "a rank died during the meeting",
        blame: Blame::Peer,
        remedy: "look at the output of the rank named",
        meaning: "A rank came to the meeting and its link ended before all had met.",
        causes: &["the process was killed or failed otherwise", "its host or network went down"],
    },
    Explanation {
        number: 15,
        title: "the meeting was complete already",
        blame: Blame::Caller,
        remedy: "make a new unique id for every start",
        meaning: "A process came to a meeting at which all ranks had met before.",
        causes: &[
            "a rank was restarted alone, with the unique id of the first start",
            "one process too many was started",
        ],
    },
    Explanation {
        number: 16,
        title: "the meeting was called off",
        blame: Blame::Peer,
        remedy: "look at the output of the process that hosted the meeting",
        meaning: "The process that served the meeting stopped before all had come.",
        causes: &["rank 0, or whoever made the unique id, ended or dropped its meeting too early"],
    },
    Explanation {
        number: 17,
        title: "somebody broke the protocol of the meeting",
        blame: Blame::Peer,
        remedy: "run the same release on all ranks",
        meaning: "A process that proved the secret sent what the meeting does not allow.",
        causes: &["different releases of crosstie", "a fault of this library"],
    },
    Explanation {
        number: 18,
        title: "the root's address cannot be used",
        blame: Blame::Caller,
        remedy: "set CROSSTIE_ROOT to host:port, an address of rank 0's host with a free port",
        meaning: "Rank 0 cannot listen at the address that CROSSTIE_ROOT names, or another rank cannot find it.",
        causes: &[
            "the port is taken, by an earlier start for one",
            "the name is of another host than rank 0's",
            "the name is unknown on this host",
        ],
    },
    Explanation {
        number: 19,
        title: "the Unix socket of this host's ranks does not serve",
        blame: Blame::Host,
        remedy: "set CROSSTIE_ROOT and CROSSTIE_SECRET instead",
        meaning: "Ranks of one host that were told no other place meet at a Unix socket named by user and job.",
        causes: &[
            "ranks in different network namespaces (containers)",
            "another user's process holds the name",
        ],
    },
    Explanation {
        number: 20,
        title: "the launcher's key-value space does not serve",
        blame: Blame::Host,
        remedy: "set CROSSTIE_ROOT and CROSSTIE_SECRET to meet without the launcher's help",
        meaning: "The launcher passes keys and values between ranks (PMI-1 by PMI_FD, or PMIx), and it failed.",
        causes: &[
            "the descriptor was closed or taken by a wrapper between launcher and program",
            "a container that refuses pidfd_getfd",
            "the launcher ended",
        ],
    },
    Explanation {
        number: 21,
        title: "this process has joined the world already",
        blame: Blame::Caller,
        remedy: "connect once, and make further communicators of the first one, with `split`",
        meaning: "A process connected a second time as the same rank at the same meeting, at which all ranks had met \
                  before. A world is joined once; its communicators are split from the first.",
        causes: &[
            "a second Communicator::from_env() in a program that crosstie run or a unique id started",
            "two libraries in one program that each connect: hand one's communicator to the other",
        ],
    },
    Explanation {
        number: 22,
        title: "ranks disagree about whom they go on without",
        blame: Blame::Caller,
        remedy: "give `shrink` the same list on all ranks that are left",
        meaning: "Ranks that shrink a communicator meet anew, those that are left and no others. Two of them came with \
                  different lists; both lists are in the message, with the numbers of the communicator that shrinks.",
        causes: &[
            "each rank excludes the rank that it saw fail, and they saw different ones: agree on the list first",
            "a list that was made before another rank failed",
        ],
    },
    Explanation {
        number: 23,
        title: "a rank gave up before all had met",
        blame: Blame::Peer,
        remedy: "look at what the rank named says of it",
        meaning: "A rank failed before it could meet the others, and told them so; or it came to the meeting, and its \
                  program ended its connecting before all had come.",
        causes: &[
            "a setting of that rank cannot be understood, or does not fit its host",
            "that rank's host refused what it needs",
            "the program of that rank called ncclCommAbort, or cancelled, while it connected",
        ],
    },
    Explanation {
        number: 24,
        title: "connecting was given up",
        blame: Blame::Caller,
        remedy: "connect again, with a new unique id where one was used",
        meaning: "The program of this rank ended its connecting from another thread, before all ranks had come. Ranks \
                  that wait are told so.",
        causes: &["ncclCommAbort, or `Cancel::cancel`, on a communicator that is connecting"],
    },
    Explanation {
        number: 30,
        title: "two releases that do not understand each other",
        blame: Blame::Host,
        remedy: "install the same release of crosstie on all hosts",
        meaning: "Protocol versions of different major numbers met. Both hosts and versions are named.",
        causes: &["an old installation first in the search path of one host"],
    },
    Explanation {
        number: 31,
        title: "another secret, or another world",
        blame: Blame::Caller,
        remedy: "give every rank the same unique id or CROSSTIE_SECRET, and start rank 0",
        meaning: "A crosstie process answers at the peer's address, but does not share this rank's secret.",
        causes: &[
            "CROSSTIE_SECRET differs, be it by a newline",
            "the port belongs to another job by now",
            "rank 0 has not started, or has ended",
        ],
    },
    Explanation {
        number: 32,
        title: "a peer cannot be reached",
        blame: Blame::Network,
        remedy: "see that the peer runs and that no firewall is between; CROSSTIE_PORTS and CROSSTIE_INTERFACE \
                 choose where to listen; `crosstie doctor` on both hosts tells more",
        meaning: "No address of the peer led to it before the deadline. Every attempt is listed with its reason.",
        causes: &[
            "the peer has ended: `connection refused`",
            "a firewall drops packets: `no answer`",
            "the peer announced an interface that this host cannot reach",
        ],
    },
    Explanation {
        number: 33,
        title: "a link ended",
        blame: Blame::Peer,
        remedy: "look at the output of the rank at the other end",
        meaning: "A link to another process ended, or its other end stopped reading, while it was needed.",
        causes: &["the process at the other end ended", "its host or network went down"],
    },
    Explanation {
        number: 34,
        title: "somebody broke the protocol of links",
        blame: Blame::Peer,
        remedy: "run the same release on all ranks",
        meaning: "What came over an authenticated link is not what this release expects.",
        causes: &["different releases of crosstie", "a proxy between the hosts that changes bytes"],
    },
    Explanation {
        number: 35,
        title: "there is nowhere to listen",
        blame: Blame::Host,
        remedy: "set CROSSTIE_PORTS and CROSSTIE_INTERFACE to what is there: `crosstie doctor` tells what that is",
        meaning: "All ports of the range are taken, or no interface has the name asked for.",
        causes: &[
            "more processes on the host than CROSSTIE_PORTS has ports",
            "CROSSTIE_INTERFACE names an interface of another host",
        ],
    },
    Explanation {
        number: 36,
        title: "this is no unique id",
        blame: Blame::Caller,
        remedy: "pass on the unique id exactly as it was made",
        meaning: "A unique id has 128 bytes and a check sum; this one was cut, changed or made by another library.",
        causes: &["a line break in a copied id", "an id that NCCL made"],
    },
    Explanation {
        number: 40,
        title: "this host, or its RDMA device, refused what was asked of it",
        blame: Blame::Host,
        remedy: "`crosstie doctor` holds this host's limits, memory and RDMA devices against what ranks need",
        meaning: "The operating system or ibverbs said no. The call and its reason are in the message. Over ibverbs \
                  CROSSTIE_TRANSPORT=auto goes on by TCP where it can, and says why.",
        causes: &[
            "too many open files: raise ulimit -n",
            "too little memory may be pinned for an RDMA device: ulimit -l unlimited",
            "no libibverbs, or a container without /dev/infiniband",
            "an RDMA port that is down, has no GID, or does not reach the peer's: another CROSSTIE_VERBS_DEVICES, \
             CROSSTIE_VERBS_GID_INDEX or CROSSTIE_NICS",
            "no memory, or a container's limit of it",
            "a seccomp profile that forbids the call",
        ],
    },
    Explanation {
        number: 41,
        title: "too many open files",
        blame: Blame::Host,
        remedy: "raise `ulimit -n` to the number in the message, or put fewer ranks into one process",
        meaning: "A rank needs sockets and memory files for each of its peers, and this process, or its host, had no \
                  more to give. The soft limit is raised as far as the hard one allows, so it is the hard one that \
                  is too low. Other ranks see this one go.",
        causes: &[
            "ncclCommInitAll of many ranks: one process has both ends of everything",
            "a container or a service with a low limit (LimitNOFILE)",
        ],
    },
    Explanation {
        number: 50,
        title: "a peer was gone while connecting",
        blame: Blame::Peer,
        remedy: "look at the output of the rank named",
        meaning: "A rank ended, or closed its connections, while connections were made.",
        causes: &["the process was killed or failed otherwise"],
    },
    Explanation {
        number: 51,
        title: "connections were not made in time",
        blame: Blame::Peer,
        remedy: "see why the rank named is slow or cannot be reached; CROSSTIE_INIT_TIMEOUT gives it longer",
        meaning: "All ranks met, but the connections between them were not up within CROSSTIE_INIT_TIMEOUT.",
        causes: &[
            "a host so busy that its ranks hardly run",
            "ranks that reach the meeting's host, but not each other",
        ],
    },
    Explanation {
        number: 52,
        title: "a transport failed",
        blame: Blame::Peer,
        remedy: "run the same release on all ranks, with the same calls",
        meaning: "What came over a connection is not what this release expects there.",
        causes: &["different releases of crosstie", "a fault of this library"],
    },
    Explanation {
        number: 53,
        title: "the heap has no room for a buffer",
        blame: Blame::Caller,
        remedy: "ask for less, drop buffers that are not needed, or raise CROSSTIE_HEAP_BYTES",
        meaning: "Buffers of `alloc`, and registered ones, lie in one heap that the ranks of a host share. It is as \
                  large as CROSSTIE_HEAP_BYTES says, else as the host has memory. Nothing was allocated.",
        causes: &[
            "a count in bytes where elements are counted",
            "buffers of alloc that were kept",
            "CROSSTIE_HEAP_BYTES smaller than the buffers that are in use at once",
        ],
    },
    Explanation {
        number: 54,
        title: "two ranks have no way to each other",
        blame: Blame::Network,
        remedy: "where a NIC without carrier is named, mend its cable or the switch's port; else give the two addresses \
                 named a way to each other; where they are on different rails of a network that does not join them, \
                 use relays: --pxn on, CROSSTIE_PXN=on",
        meaning: "All ranks met, and the rank named listens, but what another sends to it from its own NIC has no way: \
                  this host has no route there, or nothing comes back for CROSSTIE_SILENCE (10 seconds). Without PXN a \
                  rank sends from its own NIC to the receiver's, so NICs of different rails must reach each other; \
                  with it, messages leave from the NIC of the node that is on the receiver's rail.",
        causes: &[
            "a rail-only network, whose switches are not joined by a spine, without PXN",
            "a rail whose cable or switch is down",
            "a firewall between the two hosts",
            "CROSSTIE_NICS with addresses in another order than the rails",
        ],
    },
    Explanation {
        number: 60,
        title: "a rank died",
        blame: Blame::Peer,
        remedy: "look at the output of the rank named: it ended (exit?), was killed (out of memory?), or its host went down",
        meaning: "The links to a rank ended although it had not left in order, and its process is gone, or does not say \
                  that it lives. All ranks fail with the same verdict, \
                  at once; only `abort` and `shrink` work on the communicator from then on.",
        causes: &[
            "the process was killed: by the kernel for want of memory (see dmesg), or by its launcher",
            "it ended by exit() or a signal without dropping its communicator",
        ],
    },
    Explanation {
        number: 61,
        title: "a rank has gone silent",
        blame: Blame::Peer,
        remedy: "see whether the rank named is stopped (SIGSTOP, a debugger, a swapping host) or its network is cut; \
                 CROSSTIE_SILENCE sets the patience",
        meaning: "A rank's monitor thread says once each CROSSTIE_HEARTBEAT that it lives, however busy its \
                  program is; this one said nothing for CROSSTIE_SILENCE.",
        causes: &[
            "the process is stopped: by Ctrl-Z, a debugger, a frozen container",
            "its host swaps, or is down",
            "its network is cut, without an end of the connection",
        ],
    },
    Explanation {
        number: 62,
        title: "a rank did not make the call that others wait in",
        blame: Blame::Peer,
        remedy: "see why the rank named did not make the same call in time; CROSSTIE_TIMEOUT sets the patience",
        meaning: "The arrival clock: ranks waited in a call for CROSSTIE_TIMEOUT (30 minutes), and the rank named, \
                  which lives, had not made it. The dump says where its last call was made.",
        causes: &[
            "the rank is busy elsewhere: loading data, writing a checkpoint, compiling",
            "it took another branch of the program, without this call",
            "it waits for something that another rank does only after this call",
        ],
    },
    Explanation {
        number: 63,
        title: "the ranks' calls differ",
        blame: Blame::Caller,
        remedy: "make the same calls, with the same types and counts, in the same order on all ranks",
        meaning: "Every message says which call it belongs to, and two ranks' calls of the same number differ: in \
                  operation, type, reduction, count, root or order. Both calls and the places in the program where \
                  they were made are named.",
        causes: &[
            "a condition on the rank around a call",
            "a last batch that is shorter on some ranks",
            "two threads of a program whose calls on one communicator are in no fixed order",
        ],
    },
    Explanation {
        number: 64,
        title: "a rank gave up",
        blame: Blame::Peer,
        remedy: "look at the output of the rank named, and at the words that it gave",
        meaning: "A rank ended the work on purpose: it aborted, or the thread that held its communicator panicked.",
        causes: &["a panic in the program", "a call of abort"],
    },
    Explanation {
        number: 65,
        title: "this communicator has failed before",
        blame: Blame::Caller,
        remedy: "see the first failure; then drop the communicator, or shrink it to the ranks that are left",
        meaning: "After a failure the state of the connections is unknown, so every further call is refused. The \
                  first failure is repeated in the message.",
        causes: &["a loop that goes on after an error"],
    },
    Explanation {
        number: 66,
        title: "a rank left in order before a call that others made",
        blame: Blame::Peer,
        remedy: "see the output of the rank named, which may have ended with an error of its own; else make the same \
                 number of calls on all ranks",
        meaning: "A rank dropped its communicator, or called leave, after the call whose number is named, and \
                  others made one more. A rank by way of which others of its node send (PXN) works on for them after \
                  it has left, and stays watched as long: should it die before they are done, that is CT-060.",
        causes: &[
            "one rank returned early, after an error of its own: its output tells",
            "one rank has fewer batches than the others",
        ],
    },
    Explanation {
        number: 67,
        title: "what was sent could not be delivered",
        blame: Blame::Peer,
        remedy: "see why peers are slow to receive; their output may tell",
        meaning: "This rank left, and its last messages had not been taken by their receivers in time.",
        causes: &["a peer that stopped receiving", "a very slow network"],
    },
    Explanation {
        number: 68,
        title: "nothing moves, though all ranks are in the call",
        blame: Blame::Network,
        remedy: "read the dump: it names the first missing step and the connection that it waits on; \
                 CROSSTIE_STALL sets the patience",
        meaning: "The stall clock: all ranks had made the call, all their monitors answer, and no rank received or \
                  sent anything for CROSSTIE_STALL (30 seconds). A slow call that moves never meets this clock.",
        causes: &[
            "a network path that drops data but not the monitors' messages: an MTU that is too large, a firewall",
            "a thread that is stopped in a debugger while its process runs on",
            "a fault of this library: please report it, with the dump",
        ],
    },
    Explanation {
        number: 69,
        title: "a failure without a name",
        blame: Blame::Ourselves,
        remedy: "please report this, with the text above",
        meaning: "Something failed that this release has no better name for.",
        causes: &["a later release at the other end", "a fault of this library"],
    },
    Explanation {
        number: 70,
        title: "a call in a forked child",
        blame: Blame::Caller,
        remedy: "connect after the fork, or start the child as a program of its own",
        meaning: "A communicator belongs to the process that connected it: its connections, its monitor and its place \
                  among the ranks are that process's. Its copy in a forked child can only be dropped, which disturbs \
                  nobody.",
        causes: &[
            "a data loader that forks after the ranks have connected",
            "a daemon that forks after its start",
        ],
    },
    Explanation {
        number: 71,
        title: "a link between two ranks was cut",
        blame: Blame::Network,
        remedy: "mend the cable, or the switch's port, of the NIC that is named; where none is, look at what lies \
                 between the two hosts: switches, uplinks, firewalls",
        meaning: "A connection ended, or what was sent on it met with no answer for about half of CROSSTIE_STALL, and the \
                  processes at both ends live. A port that comes back within that time ends nothing over RDMA. All ranks \
                  get the same verdict, and nobody is the culprit; only `abort` and `shrink` work from then on.",
        causes: &[
            "a cable, a switch or an uplink of one rail that went down, and stayed so",
            "a network device that was restarted, or that forgets connections without traffic",
            "a firewall, or an administrator, that resets connections",
            "a network interface that went down or changed its address",
        ],
    },
    Explanation {
        number: 72,
        title: "ranks wait for each other",
        blame: Blame::Caller,
        remedy: "post sends and receives that depend on each other together, in one group or send_recv, or change their \
                 order on some ranks",
        meaning: "In calls of send, receive or group, each rank of a circle waits for a message of the next, or for the \
                  next to take one, and nothing has moved for CROSSTIE_STALL (30 seconds): no one of them can go on. \
                  The circle, and where the program made each of the calls, are named. A rank that waits for one that is \
                  in no call is not told so: that one may yet come, until CROSSTIE_TIMEOUT.",
        causes: &[
            "every rank receives from its neighbour before it sends",
            "every rank sends a long message before it receives: only short ones are buffered",
            "a send or receive on one rank stands before a collective, and its counterpart after it",
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        let codes: Vec<Code> = Code::all().collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
    }

    #[test]
    fn every_code_has_a_page_with_causes_and_a_remedy() {
        for code in Code::all() {
            let page = code.explanation().unwrap();
            let text = page.to_string();
            assert!(text.starts_with(&format!("{code}: {}", page.title)), "{text}");
            assert!(page.meaning.len() > 40 && page.meaning.ends_with('.'), "{text}");
            assert!(!page.causes.is_empty() && !page.remedy.ends_with('.'), "{text}");
        }
    }

    #[test]
    fn a_code_is_read_as_people_write_it() {
        for text in ["CT-060", "ct-60", "CT060", "60", "060"] {
            assert_eq!(text.parse(), Ok(Code(60)), "{text}");
        }
        for text in ["", "CT-", "CT-x", "+60", "é60", "99999", "CT--60"] {
            assert!(text.parse::<Code>().is_err(), "{text}");
        }
        assert!(Code(999).explanation().is_none());
    }
}
