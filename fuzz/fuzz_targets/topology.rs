//! Owns the fuzz target of topology files: whatever the bytes, reading ends, and what was read can be
//! written, read back, merged, judged and shown.
#![no_main]

use crosstie_topo::xml::{Document, merge};
use crosstie_topo::{Paths, Topology, diff, lint, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = Document::read_bytes(bytes) else { return };
    let again = Document::read(&document.to_string());
    assert_eq!(again.as_ref(), Ok(&document), "{document}");
    let merged = merge([document.clone(), document.clone()]).map(|merged| merged.conflicts);
    assert_eq!(merged, Some(Vec::new()));
    let Ok(topology) = Topology::from_document(document) else { return };
    lint(&topology);
    render::tree(&topology);
    render::dot(&topology);
    render::svg(&topology);
    render::json(&topology);
    if let Ok(paths) = Paths::of(&topology) {
        let _ = render::Matrix::of(&topology, &paths).to_string();
        assert_eq!(diff(&topology, &topology), Ok(Vec::new()));
    }
});
