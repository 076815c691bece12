//! A comparison on one screen of a terminal: what is wrong first, then what differs, the lines, and
//! what was normalised away.

use std::collections::BTreeMap;

use quorate_proto::comparison::Level;

use super::Report;
use super::survey::{Entry, Item, Owner, Survey};
use super::words;
use crate::render::{count, diff_tone, word};
use crate::text::{Paint, Tone, plain, short, source_line};

/// Anomalies that are listed.
const FAULTS_MAX: usize = 8;

/// Entries of one group that are listed.
const ENTRIES_MAX: usize = 15;

/// Lines of diff, of all members together, with their names.
const LINES_MAX: usize = 24;

/// Lines of diff of one member that changed.
const CHANGED_LINES_MAX: usize = 12;

/// Lines of code that only one side has.
const ADDED_LINES_MAX: usize = 4;

/// Characters of one line of a diff.
const LINE_CHARS_MAX: usize = 160;

/// Widest column of names; longer ones push their line.
const NAME_WIDTH_MAX: usize = 48;

/// The report as text.
pub(super) fn text(report: &Report<'_>, paint: Paint) -> String {
    let mut screen = Screen { text: String::new(), paint };
    screen.head(report);
    screen.faults(&report.survey);
    screen.group("only in A", &report.survey.only_a);
    screen.group("only in B", &report.survey.only_b);
    screen.changed(&report.survey);
    screen.lines(&report.survey);
    screen.passes(report);
    screen.text
}

struct Screen {
    text: String,
    paint: Paint,
}

impl Screen {
    fn head(&mut self, report: &Report<'_>) {
        let level = report.comparison.level;
        let tone = if level == Level::Different { Tone::Bad } else { Tone::Good };
        let level_word = self.paint.tone(tone, &word(&level));
        self.line(&format!("{level_word}  {}", words::numbers(level, &report.survey)));
        let names = report.names.map(plain);
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(NAME_WIDTH_MAX);
        let forms = [&report.comparison.published, &report.comparison.rebuilt];
        for ((side, name), form) in ["A", "B"].into_iter().zip(&names).zip(forms) {
            let normal = form.normal.map_or_else(|| "no normal form".to_owned(), |normal| short(&normal.to_string()));
            let size = words::size(form.size_bytes);
            self.line(&format!("  {side}  {name:<width$}  {size:>9}  {}  {normal}", short(&form.digest.to_string())));
        }
        if let Some([a, b]) = &report.survey.tops {
            let text = format!("  A lies in {}/, B in {}/: members are compared by their whole names", plain(a), plain(b));
            self.line(&self.paint.tone(Tone::Unsure, &text));
        }
    }

    fn faults(&mut self, survey: &Survey<'_>) {
        if survey.faults.is_empty() {
            return;
        }
        self.section("anomalies", "");
        for fault in survey.faults.iter().take(FAULTS_MAX) {
            let anomaly = fault.anomaly;
            let member = anomaly.member.as_ref().map_or(String::new(), |member| format!(" {}", plain(member)));
            let text = format!("{:<4}  {}{member}: {}", fault.owner.word(), word(&anomaly.kind), plain(&anomaly.detail));
            let tone = if fault.owner == Owner::Both { Tone::Unsure } else { Tone::Bad };
            self.line(&format!("  {}", self.paint.tone(tone, &text)));
        }
        self.more(survey.faults.len(), FAULTS_MAX);
    }

    fn group(&mut self, title: &str, entries: &[Entry<'_>]) {
        if entries.is_empty() {
            return;
        }
        self.section(title, "");
        let shown = gravest(entries, |entry| entry.code_count() > 0);
        let names: Vec<String> = shown.iter().map(|entry| plain(&entry.name)).collect();
        let width = width_of(&names);
        for (entry, name) in shown.iter().zip(&names) {
            let text = match entry.items.as_slice() {
                [item] if !entry.is_folder() => format!("{name:<width$}  {:<7}  {}", item.kind.word(), plain(&words::extent(item))),
                _ => format!("{name:<width$}  ({})", words::holding(entry)),
            };
            self.entry(&text, entry.code_count() > 0);
        }
        self.more(entries.len(), ENTRIES_MAX);
    }

    fn changed(&mut self, survey: &Survey<'_>) {
        if let Some(opaque) = survey.opaque {
            let name = plain(&opaque.difference.member);
            self.section("changed", "");
            self.entry(&format!("{name}  the bytes differ, and nothing says in what"), true);
        } else if !survey.changed.is_empty() {
            self.section("changed", "");
        }
        let shown = gravest(&survey.changed, Item::is_grave);
        let names: Vec<String> = shown.iter().map(|item| plain(&item.name)).collect();
        let width = width_of(&names);
        for (item, name) in shown.iter().zip(&names) {
            let text = format!("{name:<width$}  {:<7}  {:<7}  {}", item.kind.word(), words::classes(item), plain(&words::extent(item)));
            self.entry(&text, item.is_grave());
            for remark in item.remarks() {
                self.line(&format!("    {}", plain(&remark)));
            }
        }
        self.more(survey.changed.len(), ENTRIES_MAX);
    }

    /// Lines of what changed, code first; then of single files of code that one side lacks.
    fn lines(&mut self, survey: &Survey<'_>) {
        let all = survey.changed.iter().chain(survey.only_a.iter().chain(&survey.only_b).flat_map(|entry| &entry.items));
        let with_lines = all.filter(|item| item.diff().is_some()).count();
        let alone = survey.only_a.iter().chain(&survey.only_b).filter(|entry| !entry.is_folder()).flat_map(|entry| &entry.items);
        let (grave, rest): (Vec<&Item<'_>>, Vec<&Item<'_>>) = survey.changed.iter().partition(|item| item.is_grave());
        let changed = grave.into_iter().chain(rest).map(|item| (item, CHANGED_LINES_MAX));
        let wanted = changed.chain(alone.filter(|item| item.is_grave()).map(|item| (item, ADDED_LINES_MAX)));
        let (mut left, mut shown) = (LINES_MAX, 0);
        for (item, lines_max) in wanted {
            let Some(diff) = item.diff().filter(|_| left > 0) else { continue };
            if shown == 0 {
                self.section("lines", "  (- in A, + in B)");
            }
            left = left.saturating_sub(self.diff(item, diff, lines_max.min(left)));
            shown += 1;
        }
        if shown > 0 && with_lines > shown {
            self.faint(&format!("and lines of {}: --html FILE shows them", count(with_lines - shown, "other member")));
        }
    }

    /// Says how many lines it took.
    fn diff(&mut self, item: &Item<'_>, diff: &str, lines_max: usize) -> usize {
        let lines: Vec<&str> = words::diff_lines(diff).collect();
        self.line(&format!("  {}", plain(&item.name)));
        for line in lines.iter().take(lines_max) {
            let line = source_line(line, LINE_CHARS_MAX);
            self.line(&format!("    {}", self.paint.tone(diff_tone(&line), &line)));
        }
        if lines.len() > lines_max {
            self.faint(&format!("  {} more lines", lines.len() - lines_max));
        }
        lines.len().min(lines_max) + 1
    }

    fn passes(&mut self, report: &Report<'_>) {
        if report.comparison.passes.is_empty() {
            return;
        }
        let mut by_risk: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for pass in &report.comparison.passes {
            by_risk.entry(pass.risk).or_default().push(plain(&words::pass(pass)));
        }
        self.section("normalised away", "  (pass/version, and on how many members)");
        for (risk, passes) in by_risk.into_iter().rev() {
            let label = format!("risk {}", word(&risk));
            self.wrapped(&label, &passes);
        }
    }

    /// Comma-separated in lines of a usual width, under a label.
    fn wrapped(&mut self, label: &str, texts: &[String]) {
        const WIDTH: usize = 76;
        let mut line = format!("  {label:<12}");
        for (at, text) in texts.iter().enumerate() {
            if line.chars().count() + text.chars().count() > WIDTH {
                self.line(line.trim_end());
                line = " ".repeat(14);
            }
            line.push_str(text);
            line.push_str(if at + 1 < texts.len() { ", " } else { "" });
        }
        self.line(&line);
    }

    fn section(&mut self, title: &str, remark: &str) {
        let title = self.paint.tone(Tone::Head, title);
        let remark = if remark.is_empty() { String::new() } else { self.paint.tone(Tone::Faint, remark) };
        self.line(&format!("\n{title}{remark}"));
    }

    fn entry(&mut self, text: &str, is_grave: bool) {
        let text = text.trim_end();
        let text = if is_grave { self.paint.tone(Tone::Unsure, text) } else { text.to_owned() };
        self.line(&format!("  {text}"));
    }

    fn more(&mut self, number: usize, shown: usize) {
        if number > shown {
            self.faint(&format!("and {} more: --format json has them all", number - shown));
        }
    }

    fn faint(&mut self, text: &str) {
        self.line(&format!("  {}", self.paint.tone(Tone::Faint, text)));
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

/// As many as are listed, in their order; where there are more, the grave ones.
fn gravest<T>(all: &[T], is_grave: impl Fn(&T) -> bool) -> Vec<&T> {
    let (grave, rest): (Vec<usize>, Vec<usize>) = (0..all.len()).partition(|at| is_grave(&all[*at]));
    let mut shown: Vec<usize> = grave.into_iter().chain(rest).take(ENTRIES_MAX).collect();
    shown.sort_unstable();
    shown.into_iter().map(|at| &all[at]).collect()
}

fn width_of(names: &[String]) -> usize {
    names.iter().map(|name| name.chars().count()).filter(|width| *width <= NAME_WIDTH_MAX).max().unwrap_or(0)
}
