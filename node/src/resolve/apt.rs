//! Where this machine gets Debian from: apt's own source lists, in both of their forms. Pure.

/// One archive that apt knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Its base address.
    pub uri: String,
    /// The keyring that it must be signed with, where the list says so.
    pub signed_by: Option<String>,
}

/// The archives in a deb822 file (`*.sources`).
pub fn archives_in_sources(text: &str) -> Vec<Archive> {
    let mut archives = Vec::new();
    for paragraph in paragraphs(text) {
        let field = |name: &str| value(&paragraph, name);
        if field("Enabled").is_some_and(|enabled| enabled.eq_ignore_ascii_case("no")) || !has_main(field("Components")) {
            continue;
        }
        for uri in field("URIs").unwrap_or_default().split_whitespace() {
            archives.push(Archive { uri: uri.to_owned(), signed_by: field("Signed-By").map(str::to_owned) });
        }
    }
    archives
}

/// The archives in a one-line file (`*.list`).
pub fn archives_in_list(text: &str) -> Vec<Archive> {
    text.lines().filter_map(archive_in_line).collect()
}

fn archive_in_line(line: &str) -> Option<Archive> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb-src").or_else(|| line.strip_prefix("deb"))?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, _suite) = (words.next()?, words.next()?);
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by=")).map(str::to_owned);
    has_main(words.find(|word| *word == "main")).then(|| Archive { uri: uri.to_owned(), signed_by })
}

fn has_main(components: Option<&str>) -> bool {
    components.is_some_and(|components| components.split_whitespace().any(|component| component == "main"))
}

/// A paragraph's fields: names and values, continuation lines joined by newlines.
pub type Paragraph = Vec<(String, String)>;

/// The paragraphs of a deb822 text.
pub fn paragraphs(text: &str) -> Vec<Paragraph> {
    let mut all = vec![Paragraph::new()];
    for line in text.lines() {
        let last = all.len() - 1;
        if line.trim().is_empty() {
            if !all[last].is_empty() {
                all.push(Paragraph::new());
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = all[last].last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':').filter(|_| !line.starts_with('#')) {
            all[last].push((name.to_owned(), value.trim().to_owned()));
        }
    }
    all.retain(|paragraph| !paragraph.is_empty());
    all
}

/// A field's value.
pub fn value<'a>(paragraph: &'a Paragraph, name: &str) -> Option<&'a str> {
    paragraph.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_source_list_are_read() {
        let sources = "Types: deb\n# a remark\nURIs: http://debian.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n\nURIs: http://off.example\nComponents: main\nEnabled: no\n\nURIs: http://other.example\nComponents: extra\n";
        let archive = |uri: &str, key: Option<&str>| Archive { uri: uri.to_owned(), signed_by: key.map(str::to_owned) };
        assert_eq!(archives_in_sources(sources), [archive("http://debian.example/debian", Some("/k.gpg"))]);
        let list = "# deb http://no.example x main\ndeb [arch=amd64 signed-by=/k.gpg] http://debian.example/debian trixie main contrib\ndeb http://plain.example stable non-free\n";
        assert_eq!(archives_in_list(list), [archive("http://debian.example/debian", Some("/k.gpg"))]);
    }
}
