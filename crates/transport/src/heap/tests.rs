use super::*;

const HEAP_BYTES: usize = 1 << 20;

/// A heap, and how a peer in another process sees it.
fn shared() -> (Heap, PeerHeap) {
    let heap = Heap::shared(HEAP_BYTES).unwrap();
    let memory = heap.memory().unwrap().try_clone_to_owned().unwrap();
    (heap, PeerHeap::of(memory).unwrap())
}

fn region(block: &mut HeapBlock) -> Region {
    let bytes = block.as_mut_slice();
    // SAFETY: the block outlives the region in these tests, and is not touched meanwhile.
    unsafe { Region::from_raw_parts(NonNull::from(&mut *bytes).cast(), bytes.len()) }
}

#[test]
fn a_peer_reads_what_was_written() {
    let (heap, mut peer) = shared();
    let _first = heap.alloc(1).unwrap();
    let mut block = heap.alloc(10_000).unwrap();
    block.as_mut_slice().iter_mut().zip(0u8..=255).for_each(|(byte, i)| *byte = i);
    let offset = heap.offset_of(region(&mut block).part(7, 90).unwrap()).unwrap();
    let seen = peer.find(offset, 90).unwrap().to_vec();
    assert_eq!(seen, block.as_slice()[7..97]);
}

#[test]
fn blocks_are_zeroed_also_where_others_were_and_their_pages_go_back() {
    for heap in [Heap::private(HEAP_BYTES), Heap::shared(HEAP_BYTES).unwrap()] {
        let mut block = heap.alloc(HEAP_BYTES).unwrap();
        assert!(block.as_slice().iter().all(|&byte| byte == 0));
        block.as_mut_slice().fill(7);
        assert_eq!(heap.in_use(), HEAP_BYTES);
        drop(block);
        assert_eq!(heap.in_use(), 0);
        if let Some(memory) = heap.memory() {
            assert_eq!(rustix::fs::fstat(memory).unwrap().st_blocks, 0, "pages stay behind");
        }
        assert!(heap.alloc(HEAP_BYTES).unwrap().as_slice().iter().all(|&byte| byte == 0));
    }
}

#[test]
fn a_heap_that_is_never_asked_maps_nothing_and_one_that_is_full_says_so() {
    let heap = Heap::shared(HEAP_BYTES).unwrap();
    assert!(heap.0.mapped.get().is_none());
    assert!(heap.alloc(0).unwrap().is_empty());
    assert!(heap.0.mapped.get().is_none());
    let _block = heap.alloc(PAGE_BYTES + 1).unwrap();
    let error = heap.alloc(HEAP_BYTES).unwrap_err();
    let want = (HEAP_BYTES as u64, 2 * PAGE_BYTES as u64, HEAP_BYTES as u64);
    assert!(
        matches!(error, TransportError::HeapFull { bytes, in_use, heap_bytes }
            if (bytes, in_use, heap_bytes) == want),
        "{error}"
    );
    assert!(heap.alloc(usize::MAX).is_err());
    assert!(Heap::private(0).alloc(1).is_err());
}

#[test]
fn only_what_lies_inside_as_a_whole_is_the_heaps() {
    let (heap, _) = shared();
    let mut block = heap.alloc(HEAP_BYTES).unwrap();
    let whole = region(&mut block);
    assert_eq!(heap.offset_of(whole), Some(0));
    assert_eq!(heap.offset_of(whole.part(HEAP_BYTES, 0).unwrap()), Some(HEAP_BYTES as u64));
    assert_eq!(heap.offset_of(Region::leak(vec![0; 100].into())), None);
    let start = NonNull::new(whole.as_ptr()).unwrap();
    // SAFETY: the sum is inside the block; the region is never accessed.
    let beyond = unsafe { Region::from_raw_parts(start.add(1), HEAP_BYTES) };
    assert_eq!(heap.offset_of(beyond), None);
}

#[test]
fn whatever_a_peer_says_nothing_outside_its_heap_is_found() {
    let (heap, mut mapped) = shared();
    let _block = heap.alloc(1).unwrap();
    for peer in [&mut mapped, &mut PeerHeap::Same(heap.clone())] {
        let lies = [
            (HEAP_BYTES as u64, 1),
            (HEAP_BYTES as u64 - 9, 10),
            (u64::MAX, 1),
            (u64::MAX, usize::MAX),
            (1, usize::MAX),
            (0, HEAP_BYTES + 1),
        ];
        for (offset, len) in lies {
            assert!(matches!(peer.find(offset, len), Err(NotThere::Outside { .. })), "{offset}");
        }
    }
    assert!(mapped.find(HEAP_BYTES as u64 - 10, 10).is_ok());
}

#[test]
fn a_message_that_begins_in_one_extent_and_ends_in_the_next_is_found_whole() {
    let heap = Heap::shared(3 * PeerHeap::LONGEST).unwrap();
    let memory = heap.memory().unwrap().try_clone_to_owned().unwrap();
    let mut peer = PeerHeap::of(memory).unwrap();
    let mut block = heap.alloc(3 * PeerHeap::LONGEST).unwrap();
    let at = 2 * PeerHeap::LONGEST - 3;
    block.as_mut_slice()[at..at + 6].copy_from_slice(b"across");
    assert_eq!(peer.find(at as u64, 6).unwrap().to_vec(), b"across");
    assert!(peer.find(at as u64, PeerHeap::LONGEST).is_ok());
    assert!(peer.find(0, PeerHeap::LONGEST + 1).is_err(), "longer than any message");
}

#[test]
fn memory_that_a_peer_could_shrink_is_no_heap() {
    let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("crosstie-test", flags).unwrap();
    rustix::fs::ftruncate(&memory, 4096).unwrap();
    assert!(PeerHeap::of(memory).is_err());
}

/// `len` bytes of private memory.
fn private(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

fn region_of(bytes: &mut [u8]) -> Region {
    // SAFETY: the tests keep the bytes, and look at the region's place alone.
    unsafe { Region::from_raw_parts(NonNull::from(&mut *bytes).cast(), bytes.len()) }
}

#[test]
fn registered_memory_keeps_bytes_and_address_and_a_peer_reads_what_is_written_to_it() {
    let (heap, mut peer) = shared();
    for len in [100_000, 100_001, 131_072] {
        let before = private(len);
        let vector = before.clone();
        let address = vector.as_ptr();
        let mut registered = heap.register(vector).unwrap();
        assert_eq!(registered[..], before);
        assert_eq!(registered.as_ptr(), address);
        let lendable = registered.lendable_bytes();
        assert!(lendable.is_multiple_of(PAGE_BYTES) && lendable > len - 2 * PAGE_BYTES);

        registered.iter_mut().for_each(|byte| *byte = !*byte);
        let part = region_of(&mut registered).part(PAGE_BYTES, 70_000).unwrap();
        let offset = heap.offset_of(part).unwrap();
        let seen = peer.find(offset, 70_000).unwrap().to_vec();
        assert!(seen == registered[PAGE_BYTES..][..70_000]);

        let mut vector = registered.into_vec();
        assert_eq!((heap.in_use(), vector.as_ptr()), (0, address));
        assert!(vector.iter().zip(&before).all(|(now, before)| *now == !*before));
        assert_eq!(heap.offset_of(region_of(&mut vector)), None);
        vector.extend_from_slice(&before);
        assert_eq!(vector.len(), 2 * len);
    }
}

/// What is forgotten is never freed, so its addresses never become another buffer's.
#[test]
fn the_memory_of_a_forgotten_registration_is_nobody_elses() {
    let (heap, _) = shared();
    let vector = private(200_000);
    let forgotten = vector.as_ptr_range();
    let _forgotten = std::mem::ManuallyDrop::new(heap.register(vector).unwrap());
    for _ in 0..20 {
        let next = private(200_000);
        assert!(!forgotten.contains(&next.as_ptr()));
    }
}

#[test]
fn a_vector_without_a_whole_page_is_registered_and_lends_nothing() {
    let (heap, _) = shared();
    for vector in [vec![7; 100], Vec::new()] {
        assert_eq!(heap.register(vector).unwrap().lendable_bytes(), 0);
    }
    assert!(heap.0.mapped.get().is_none());
}

#[test]
fn a_heap_that_is_full_gives_back_what_it_does_not_register() {
    let (heap, _) = shared();
    let (refusal, vector) = heap.register(private(2 * HEAP_BYTES)).unwrap_err();
    assert!(matches!(refusal, TransportError::HeapFull { .. }), "{refusal}");
    assert_eq!(vector, private(2 * HEAP_BYTES));
}

#[test]
fn a_heap_of_no_bytes_is_full() {
    let refusal = Heap::shared(0).unwrap().alloc(1).unwrap_err();
    assert!(matches!(refusal, TransportError::HeapFull { heap_bytes: 0, .. }), "{refusal}");
}

#[test]
fn several_registrations_are_told_apart() {
    let (heap, mut peer) = shared();
    let mut registered: Vec<Registered<u8>> =
        [1, 2, 3].map(|value| heap.register(vec![value; 200_000]).unwrap()).into();
    drop(registered.remove(1));
    for (registered, value) in registered.iter_mut().zip([1, 3]) {
        let part = region_of(registered).part(PAGE_BYTES, 100_000).unwrap();
        let offset = heap.offset_of(part).unwrap();
        assert!(peer.find(offset, 100_000).unwrap().to_vec().iter().all(|&byte| byte == value));
    }
}

/// What devices that know pages go by.
#[test]
fn a_block_at_the_place_of_another_is_another_allocation() {
    let heap = Heap::private(HEAP_BYTES);
    let (mut first, mut second) = (heap.alloc(10_000).unwrap(), heap.alloc(5000).unwrap());
    let place = region(&mut first);
    let inner = place.part(5000, 5000).unwrap();
    let known = heap.allocation_of(inner).unwrap();
    assert_eq!((known.region.as_ptr(), known.region.len()), (place.as_ptr(), 3 * PAGE_BYTES));
    assert_ne!(heap.allocation_of(region(&mut second)).unwrap().serial, known.serial);
    let ended = heap.ended();
    drop(first);
    assert_eq!(heap.ended(), ended + 1);
    assert!(heap.allocation_of(inner).is_none());
    let mut again = heap.alloc(10_000).unwrap();
    assert_eq!(region(&mut again).as_ptr(), place.as_ptr());
    assert_ne!(heap.allocation_of(inner).unwrap().serial, known.serial);
}

#[test]
fn a_registered_vector_is_an_allocation_until_it_is_given_back() {
    let heap = Heap::shared(HEAP_BYTES).unwrap();
    let registered = heap.register(vec![7u8; 100_000]).unwrap();
    let inside = NonNull::from(&registered[50_000..60_000]);
    // SAFETY: only its place is looked at.
    let region = unsafe { Region::from_raw_parts(inside.cast(), inside.len()) };
    let known = heap.allocation_of(region).unwrap().region;
    assert_eq!(known.len(), registered.lendable_bytes());
    assert!(known.as_ptr() <= region.as_ptr());
    let ended = heap.ended();
    drop(registered);
    assert!(heap.ended() > ended);
    assert!(heap.allocation_of(region).is_none());
}
