//! Lists of lines that setuptools generates, in one order: `SOURCES.txt` and `requires.txt`.

/// Lines sorted; a missing line end at the end stays missing.
pub(super) fn canonical_list(content: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(content).ok()?;
    let mut lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    lines.sort_unstable();
    let end = if text.ends_with('\n') { "\n" } else { "" };
    Some((lines.join("\n") + end).into_bytes())
}

/// Requirements under no header and under `[extra]` headers: sections and their lines sorted, blank
/// lines dropped. A header that occurs twice has no canonical form.
pub(super) fn canonical_sections(content: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(content).ok()?;
    let mut sections: Vec<(&str, Vec<&str>)> = vec![("", Vec::new())];
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        if line.starts_with('[') {
            sections.push((line, Vec::new()));
        } else if let Some((_, lines)) = sections.last_mut() {
            lines.push(line);
        }
    }
    sections.sort();
    let is_twice = sections.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other));
    if is_twice {
        return None;
    }
    let mut canonical = String::new();
    for (header, mut lines) in sections {
        lines.sort_unstable();
        for line in std::iter::once(header).chain(lines) {
            canonical.push_str(line);
            canonical.push('\n');
        }
    }
    Some(canonical.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_lines_does_not_count_and_lines_do() {
        assert_eq!(canonical_list(b"b\na"), canonical_list(b"a\nb"));
        for changed in [&b"a\nb\n"[..], b"a", b"a\nb\nb", b"a\nB", b"a\r\nb"] {
            assert_ne!(canonical_list(changed), canonical_list(b"a\nb"), "{changed:?}");
        }
        assert_eq!(canonical_list(b"\xff"), None);
    }

    #[test]
    fn a_requirement_stays_in_its_section() {
        let base = canonical_sections(b"x\ny\n\n[a]\np\nq\n\n[b]\nr\n");
        assert_eq!(canonical_sections(b"y\nx\n\n[b]\nr\n\n[a]\nq\np\n"), base);
        for changed in [&b"x\n\n[a]\np\nq\ny\n\n[b]\nr\n"[..], b"x\ny\n\n[a]\np\nq\n\n[b]\n", b"x\ny\n[a]\np\n[b]\nr\n"] {
            assert_ne!(canonical_sections(changed), base);
        }
        assert_eq!(canonical_sections(b"[a]\nx\n[a]\ny\n"), None);
    }
}
