//! The verifier against mutants of correct plans: whatever it accepts, no interleaving breaks;
//! whatever it rejects for a race, a deadlock or its result, some interleaving breaks.
//!
//! `CROSSTIE_MUTANTS` sets how many mutants are made, `CROSSTIE_SEED` from which seed.

mod bases;
mod interleave;
mod mutate;
mod random;

use std::collections::BTreeMap;

use crosstie_ir::{Class, Options, Plan, Reject, Report, to_json, verify};

use interleave::{Break, Schedule, Setting, run};
use random::Random;

const MUTANTS: u64 = 12_000;
const SEED: u64 = 0x6372_6f73_7374_6965;
/// Mutants are verified under 1 to this many slots. Plans that they are made from need up to 3.
const MOST_SLOTS: usize = 4;
/// Interleavings tried on a mutant that was accepted.
const TRIES_TO_BREAK: u32 = 24;
/// Interleavings among which one must break a mutant that was rejected.
const TRIES_TO_WITNESS: u32 = 200;

fn setting_of(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn the_verifier_accepts_what_nothing_breaks_and_rejects_what_something_breaks() {
    let (mutants, seed) =
        (setting_of("CROSSTIE_MUTANTS", MUTANTS), setting_of("CROSSTIE_SEED", SEED));
    println!("{mutants} mutants from seed {seed}");
    let bases = bases::all();
    let mut verdicts: BTreeMap<&str, u32> = BTreeMap::new();
    for number in 0..mutants {
        let mut random = Random::new(seed.wrapping_add(number));
        let base = random.pick(&bases);
        let mut plan = base.plan.clone();
        let mut changes = Vec::new();
        while plan == base.plan || random.chance(3) {
            changes.push(mutate::mutate(&mut plan, &mut random));
        }
        let slots = 1 + random.below(MOST_SLOTS) as u32;
        let in_place = base.in_place && random.chance(2);
        let lends = random.chance(2);
        let complaint = |why: String| {
            let name = base.name;
            format!(
                "mutant {number} of {name} {changes:?}, in place {in_place}, lending {lends}, {slots} slots: {why}\n{}",
                to_json(&plan)
            )
        };
        let verdict = judge(&plan, (in_place, lends), slots, &mut random).map_err(complaint);
        *verdicts.entry(verdict.unwrap_or_else(|why| panic!("{why}"))).or_default() += 1;
    }
    println!("{verdicts:?}");
    let full = mutants >= MUTANTS;
    for verdict in ["accepted", "race", "deadlock", "result", "form"] {
        let least = if full { mutants as u32 / 50 } else { 0 };
        let found = verdicts.get(verdict).copied().unwrap_or(0);
        assert!(found >= least, "only {found} mutants came to {verdict}: they test little");
    }
}

/// The verdict on a plan, confirmed by interleavings; else what contradicts it.
fn judge(
    plan: &Plan,
    (in_place, lends): (bool, bool),
    slots: u32,
    random: &mut Random,
) -> Result<&'static str, String> {
    let class = if lends { Class::Lend } else { Class::Copy };
    let options = Options { class, in_place, ..Options::copy(slots) };
    let unlimited = Setting { slots: usize::MAX, in_place, lends };
    let limited = Setting { slots: slots as usize, in_place, lends };
    match verify(plan, &options) {
        Ok(report) => confirm(plan, &report, limited, random).map(|()| "accepted"),
        Err(reject @ Reject::Race { first, second }) => {
            let held = Schedule::holding(plan, &[first.event, second.event]);
            witness(plan, unlimited, Some(held), &reject, random).map(|()| "race")
        }
        Err(reject @ (Reject::Deadlock { .. } | Reject::Slots { .. })) => {
            witness(plan, limited, None, &reject, random).map(|()| "deadlock")
        }
        Err(reject @ Reject::Result { .. }) => {
            witness(plan, limited, None, &reject, random).map(|()| "result")
        }
        Err(_) => Ok("form"),
    }
}

/// Fails if an interleaving breaks a plan that was accepted.
fn confirm(
    plan: &Plan,
    report: &Report,
    setting: Setting,
    random: &mut Random,
) -> Result<(), String> {
    for number in 0..TRIES_TO_BREAK {
        let least = number % 2 == 0;
        let slots = if least { report.min_slots as usize } else { setting.slots };
        let in_place = setting.in_place || (report.in_place_safe && number % 3 == 0);
        let schedule = Schedule::random(plan, random);
        let setting = Setting { slots, in_place, ..setting };
        let agree = run(plan, setting, schedule, random).map_err(|broken| {
            format!("accepted ({report:?}), but with {slots} slots {broken:?}")
        })?;
        if agree != report.bits_agree {
            return Err(format!("bits_agree is {}, but {agree} in a run", report.bits_agree));
        }
    }
    Ok(())
}

/// Fails if no interleaving breaks a plan that was rejected.
fn witness(
    plan: &Plan,
    setting: Setting,
    directed: Option<Schedule>,
    reject: &Reject,
    random: &mut Random,
) -> Result<(), String> {
    let mut directed = directed;
    for _ in 0..TRIES_TO_WITNESS {
        let schedule = directed.take().unwrap_or_else(|| Schedule::random(plan, random));
        let broken = run(plan, setting, schedule, random).err();
        let witnessed = match reject {
            Reject::Race { .. } => broken.is_some(),
            Reject::Deadlock { .. } | Reject::Slots { .. } => broken == Some(Break::Deadlock),
            _ => matches!(broken, Some(Break::WrongResult { .. })),
        };
        if witnessed {
            return Ok(());
        }
    }
    Err(format!("rejected ({reject}), but {TRIES_TO_WITNESS} interleavings do no harm"))
}
