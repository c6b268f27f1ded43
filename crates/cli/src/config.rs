//! Owns `crosstie config`: every setting with its value, where that comes from, and what it means; and the
//! warnings of what an environment says in vain.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table};
use crosstie::{Code, Origin, Setting, Told};
use crosstie_launch::{Explicit, Launcher, identify};
use serde::Serialize;

use crate::args::ConfigArgs;
use crate::exit::{Exit, Failure};

/// One setting as this environment has it.
struct Entry {
    setting: &'static Setting,
    told: Told,
    /// In words.
    origin: String,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    settings: Vec<JsonSetting>,
    unknown: Vec<Unknown>,
    ignored: Vec<String>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct JsonSetting {
    name: &'static str,
    value: Option<String>,
    origin: String,
    scope: &'static str,
    default: Option<&'static str>,
    meaning: &'static str,
    problem: Option<String>,
    ignored: Option<String>,
}

/// A name that looks like a setting and is none.
#[derive(Serialize)]
struct Unknown {
    name: String,
    suggestion: Option<&'static str>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no setting of this version", self.name)?;
        self.suggestion.map_or(Ok(()), |meant| write!(f, "; is {meant} meant?"))
    }
}

/// Runs the command: exit code 2 where a value cannot be used.
pub fn run(args: &ConfigArgs) -> Result<Exit, Failure> {
    if args.markdown {
        return written(markdown(io::stdout().lock())).map(|()| Exit::Good);
    }
    let environment = crosstie_launch::environment(std::env::vars_os());
    let entries = entries(&args.names, &environment)?;
    let unknown: Vec<Unknown> = Setting::unknown(&environment).map(unknown).collect();
    let ignored: Vec<String> =
        entries.iter().filter_map(|entry| entry.told.ignored.clone()).collect();
    let problems = problems(&entries, &environment);
    let exit = if problems.is_empty() { Exit::Good } else { Exit::Usage };
    let out = io::stdout().lock();
    if args.json {
        let settings = entries.into_iter().map(json_setting).collect();
        let document = Document { schema: 1, settings, unknown, ignored, problems };
        written(json(out, &document))?;
    } else {
        let color = crate::args::color(args.color, io::stdout().is_terminal());
        written(text(out, &entries, color))?;
        warn(&unknown, &ignored);
        complain(&problems);
    }
    Ok(exit)
}

fn written(done: io::Result<()>) -> Result<(), Failure> {
    done.map_err(|e| Failure::host("write the settings", e))
}

/// The settings asked for, or all.
fn entries(
    names: &[String],
    environment: &BTreeMap<String, String>,
) -> Result<Vec<Entry>, Failure> {
    let asked = match names {
        [] => Setting::all().to_vec(),
        names => names.iter().map(|name| named(name)).collect::<Result<_, _>>()?,
    };
    let launcher = identify(&Explicit::default(), environment).ok();
    let entry = |setting: &'static Setting| {
        let mut told = setting.told(environment);
        let mut origin = match told.origin {
            Origin::Environment => "environment".to_owned(),
            Origin::Nccl(name) => name.to_owned(),
            Origin::Default => "default".to_owned(),
            _ => "not set".to_owned(),
        };
        let identity = launcher.as_ref().filter(|identity| identity.launcher != Launcher::Alone);
        if let (Origin::Unset, Some(identity)) = (told.origin, identity) {
            let said = match setting.name {
                "CROSSTIE_RANK" => Some(identity.rank.to_string()),
                "CROSSTIE_SIZE" => Some(identity.size.to_string()),
                "CROSSTIE_NODE" => identity.node.clone(),
                _ => None,
            };
            if said.is_some() {
                (told.value, origin) = (said, identity.launcher.name().to_owned());
            }
        }
        if setting.secret && told.value.is_some() {
            told.value = Some("(not shown)".to_owned());
        }
        Entry { setting, told, origin }
    };
    Ok(asked.into_iter().map(entry).collect())
}

fn named(text: &str) -> Result<&'static Setting, Failure> {
    let upper = text.to_ascii_uppercase().replace('-', "_");
    let full = match upper.starts_with("CROSSTIE_") {
        true => upper,
        false => format!("CROSSTIE_{upper}"),
    };
    Setting::named(&full).ok_or_else(|| {
        let remedy = match Setting::like(&full) {
            Some(meant) => format!("is {} meant? `crosstie config` shows all", meant.name),
            None => "`crosstie config` shows all".to_owned(),
        };
        Failure::usage(format!("there is no setting {text}"), remedy)
    })
}

fn unknown(name: &str) -> Unknown {
    let suggestion = Setting::like(name).map(|meant| meant.name);
    Unknown { name: name.to_owned(), suggestion }
}

/// What stands in the way of using these values, a sentence each.
fn problems(entries: &[Entry], environment: &BTreeMap<String, String>) -> Vec<String> {
    let of_values = entries.iter().filter_map(|Entry { setting, told, .. }| {
        let problem = told.problem.as_ref()?;
        Some(format!("{}={}: {problem}", setting.name, told.value.as_deref().unwrap_or("")))
    });
    let mut problems: Vec<String> = of_values.collect();
    if problems.is_empty()
        && let Err(error) = identify(&Explicit::default(), environment)
    {
        problems.push(error.to_string());
    }
    problems
}

/// What of an environment is in vain, in sentences: names that are no settings, and what NCCL's variables say that has no
/// equal here.
pub fn in_vain(environment: &BTreeMap<String, String>) -> Vec<String> {
    let unknown = Setting::unknown(environment).map(|name| unknown(name).to_string());
    unknown.chain(ignored(environment)).collect()
}

/// What of an environment cannot be used, in sentences.
pub fn unusable(environment: &BTreeMap<String, String>) -> Vec<String> {
    entries(&[], environment).map(|all| problems(&all, environment)).unwrap_or_default()
}

/// Warns of names that are no settings and of what NCCL's variables say in vain, once for all ranks that are
/// to be started in this environment: a program that does not subscribe to `tracing` tells nothing of it.
pub fn warn_of_what_is_in_vain() {
    let environment = crosstie_launch::environment(std::env::vars_os());
    let unknown: Vec<Unknown> = Setting::unknown(&environment).map(unknown).collect();
    warn(&unknown, &ignored(&environment).collect::<Vec<_>>());
}

fn ignored(environment: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    Setting::all().iter().filter_map(|setting| setting.told(environment).ignored)
}

fn warn(unknown: &[Unknown], ignored: &[String]) {
    let mut error = io::stderr().lock();
    // Nothing stands in the way when nobody reads it.
    for unknown in unknown {
        let _ = writeln!(error, "crosstie: {unknown}");
    }
    for what in ignored {
        let _ = writeln!(error, "crosstie: {what}");
    }
}

fn complain(problems: &[String]) {
    let mut error = io::stderr().lock();
    for problem in problems {
        let _ = writeln!(error, "crosstie: {problem}");
    }
    if !problems.is_empty() {
        let _ =
            writeln!(error, "  correct it, or unset it; `crosstie explain {}` tells more", Code(2));
    }
}

fn json_setting(Entry { setting, told, origin }: Entry) -> JsonSetting {
    JsonSetting {
        name: setting.name,
        value: told.value,
        origin,
        scope: setting.scope.name(),
        default: setting.default,
        meaning: setting.meaning,
        problem: told.problem,
        ignored: told.ignored,
    }
}

fn json(mut out: impl Write, document: &Document) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, document)?;
    writeln!(out)
}

/// A table: as wide as the terminal, or as its contents where there is none.
fn text(mut out: impl Write, entries: &[Entry], color: bool) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["SETTING", "VALUE", "FROM", "SCOPE", "MEANING"]);
    if let Some(width) = terminal_width() {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for Entry { setting, told, origin } in entries {
        let value = told.value.as_deref().unwrap_or("-");
        let meaning = setting.meaning.replace('`', "");
        table.add_row([setting.name, value, origin, setting.scope.name(), &meaning]);
    }
    let styles: BTreeMap<&str, Style> =
        entries.iter().map(|entry| (entry.setting.name, style(entry))).collect();
    for (index, line) in table.lines().enumerate() {
        let line = line.strip_prefix(' ').unwrap_or(&line).trim_end();
        // The first line of a row has the setting's name; the lines that follow are its wrapped text.
        let name = line.split_whitespace().next().unwrap_or("");
        let style = match styles.get(name) {
            _ if !color => Style::new(),
            _ if index == 0 => Style::new().bold(),
            Some(style) => *style,
            None => Style::new(),
        };
        match line.split_once(name) {
            Some((before, after)) => writeln!(out, "{before}{style}{name}{style:#}{after}")?,
            None => writeln!(out, "{line}")?,
        }
    }
    out.flush()
}

/// What someone has set stands out, and what cannot be used stands out more.
fn style(entry: &Entry) -> Style {
    match (entry.told.origin, &entry.told.problem) {
        (_, Some(_)) => AnsiColor::Red.on_default().bold(),
        (Origin::Default | Origin::Unset, None) => Style::new(),
        (_, None) => Style::new().bold(),
    }
}

fn terminal_width() -> Option<u16> {
    rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col).filter(|&it| it > 0)
}

/// The table of the README.
fn markdown(mut out: impl Write) -> io::Result<()> {
    writeln!(out, "| variable | meaning | default | scope |\n|---|---|---|---|")?;
    for setting in Setting::all() {
        let Setting { name, meaning, scope, .. } = setting;
        let default = setting.default.map(|text| format!("`{text}`")).unwrap_or_default();
        let names: Vec<String> = setting.nccl_names().map(|name| format!("`{name}`")).collect();
        let also = match names.is_empty() {
            true => String::new(),
            false => format!(" (also {})", names.join(", ")),
        };
        writeln!(out, "| `{name}` | {meaning}{also} | {default} | {} |", scope.name())?;
    }
    out.flush()
}
