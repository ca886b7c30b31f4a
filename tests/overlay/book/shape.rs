//! Whether what came back is what the page shows, but for what differs from run to run.
//!
//! A page shows true times, ports and ids of one run. Before two lines are compared, each of these becomes its *shape*
//! in both: any time is as good as another, but a port is not a time. Runs of spaces count as one, because the
//! width of a table's columns depends on what is in them.

use regex::Regex;
use std::sync::LazyLock;

/// What differs, in the order in which it is looked for; later rows see the shapes of earlier ones.
const SHAPES: [(&str, &str); 31] = [
    (r"\b\d\d:\d\d:\d\d\.\d{3}\b", "<clock>"),
    (r"\bcw1([a-z0-9]+)-[0-9A-Z…-]+", "cw1$1-<secret>"),
    (r"12D3(KooW|…)\w+", "<id>"),
    // A dot: whose, in which process life, and which of its writes.
    (r"<id>\.[0-9a-f]+:\d+\b", "<dot>"),
    (r"/ip4/[0-9.]+/(udp/\d+/quic-v1|tcp/\d+)", "<multiaddr>"),
    (r"\b\d{1,3}(\.\d{1,3}){3}:\d+\b", "<address>"),
    (r"\b\d{1,3}(\.\d{1,3}){3}\b", "<ip>"),
    // JSON, by the name of the field.
    (r#""(\w+_ms|\w+_us|\w+_per_s|pid|phi|incarnation|behind|rank)":(-?[0-9.e-]+|null)"#, r#""$1":<number>"#),
    (r#""(digest|id|generation|token|dot|position)":("[^"]*"|null)"#, r#""$1":<text>"#),
    // Rows of the log, likewise. A digest is two words there too.
    (r"\b(inc|generation|phi|ms|age_ms|digest|dot|pid|address|peer|from|rtt)=\S+", "$1=<value>"),
    (r"\b(\d+m\d\ds|\d+h\d\dm|\d+d\d\dh)\b", "<time>"),
    (r"\b\d+(\.\d+)? (ms|s|µs)\b", "<time>"),
    // Whoever has just joined may not have heard of everybody.
    (r"^(✓ joined \w+ through \w+ \(<ip>\) in <time>): \d+ members, ", "$1: <members>, "),
    (r"\b[0-9a-f]{4} [0-9a-f]{4}\b", "<digest>"),
    // A write's name, and other long hexadecimal.
    (r"\b[0-9a-f]{32,}\b", "<hex>"),
    // A row of `members` after the name. What is not measured yet is a dash.
    (
        r"\b(alive|suspect|down|left)( \?)? (–|\d+\.\d) \d+ (–|<time>) (–|<time>) (–|\d+) (–|<digest>) (–|<address>)$",
        "$1$2 <measured>",
    ),
    (r"\bφ \d+(\.\d)?", "φ <number>"),
    (r" highest φ <number> \(\w+, down at 8\)", ""),
    (r"\d+ rounds/s · ", ""),
    (r"in [0-9.]+ (B|KiB|MiB)/s · out [0-9.]+ (B|KiB|MiB)/s · ", ""),
    (r"\bpid \d+", "pid <number>"),
    (r"\b(suspected by) \w+(, \w+)*( and \w+)?", "$1 <names>"),
    // Who owns a record depends on the ids: rows of `dht find --trace` and of `dht ls`.
    (r"^\d+ \w+ <time> ├─*● (\w+)$", "<owner> $1"),
    (r"\b(owners?): \w+(, \w+)*( and \w+)?", "$1: <names>"),
    // A cell's size depends on ids too, and so does that of all records.
    (r"^blob ([0-9.]+ \w+) \d+ ", "blob $1 <rank> "),
    (r"^(register|set|deleted) [0-9.]+ \w+ \d+ ", "$1 <size> <rank> "),
    (r"\b(records? here) · [0-9.]+ \w+", "$1 · <size>"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b", "<day>"),
    (r" · [0-9,]+ to compare or hand on", ""),
    (r"; down in <time> unless it answers", ""),
    (r"\(budget <time>\)|OVER ITS BUDGET of <time>", "(budget)"),
];

static COMPILED: LazyLock<Vec<(Regex, &str)>> =
    LazyLock::new(|| SHAPES.iter().map(|(pattern, shape)| (Regex::new(pattern).unwrap(), *shape)).collect());

/// The line with shapes for what differs.
fn shaped(line: &str) -> String {
    let mut line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    for (pattern, shape) in COMPILED.iter() {
        line = pattern.replace_all(&line, *shape).into_owned();
    }
    line
}

/// Whether a line is what is shown. `…` in `shown` is anything.
fn line_fits(shown: &str, said: &str) -> bool {
    // An id keeps its shape, so that its own ellipsis is none of ours.
    let (shown, said) = (shaped(shown), shaped(said));
    let mut pieces = shown.split('…');
    let Some(mut rest) = said.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether all that was said is what is shown. A line `…` alone is any number of lines.
pub(crate) fn fits(shown: &[String], said: &[String]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((first, rest)) if first.trim() == "…" => (0..=said.len()).any(|n| fits(rest, &said[n..])),
        Some((first, rest)) => {
            said.split_first().is_some_and(|(line, later)| line_fits(first, line) && fits(rest, later))
        }
    }
}

/// Whether what was said begins with what is shown.
pub(crate) fn begins(shown: &[String], said: &[String]) -> bool {
    (0..=said.len()).any(|n| fits(shown, &said[..n]))
}

#[cfg(test)]
mod checked {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_differs_from_run_to_run_fits_and_nothing_else() {
        for (shown, said) in [
            ("joined alpha in 38 ms", "joined alpha in 1.2 s"),
            ("up 4m12s", "up 0.3 ms"),
            ("  alpha  127.0.0.1:41731  12D3…q7Vf", "alpha 127.0.0.1:1 12D3…m2Xk"),
            ("(digest 9c1f a07e)", "(digest 0000 ffff)"),
            (
                "beta  alive  0.8  1  0.4 ms  210 ms  0  9c1f a07e  127.0.0.1:4",
                "beta alive – 2 – – – – 127.0.0.1:5",
            ),
            ("members  3 alive     highest φ 5.1 (gamma, down at 8)", "members  3 alive"),
            (r#"{"after_ms":0.8,"token":"ab","key":"k"}"#, r#"{"after_ms":12,"token":"cd","key":"k"}"#),
            ("chinwag join cw1home-7QX4-…-K2", "chinwag join cw1home-AAAA-BBBB-CCCC"),
            (
                "14:03:22.118  set    greeting  \"hello\"  alpha  +0 ms",
                "00:00:00.000 set greeting \"hello\" alpha +7 ms",
            ),
            ("   0  gamma  1.2 ms  ├───●  holds", "0 alpha 85 µs ├● holds"),
            (
                "motto is on 3 of 3 owners: a, b and c · after 1 ms",
                "motto is on 3 of 3 owners: c, a and b · after 2 ms",
            ),
            (
                "✓ joined home through ada (1.2.3.4) in 0.4 s: 3 members, 1 key",
                "✓ joined home through ada (127.0.0.1) in 1.1 s: 2 members, 1 key",
            ),
            ("a … z", "a b c z"),
        ] {
            assert!(line_fits(shown, said), "{shown} | {said} | {}", shaped(said));
        }
        for (shown, said) in [
            ("joined alpha in 38 ms", "joined beta in 38 ms"),
            (
                "✓ joined home through ada (1.2.3.4) in 0.4 s: 3 members, 1 key",
                "✓ joined home through ada (1.2.3.4) in 0.4 s: 3 members, 2 keys",
            ),
            ("joined alpha in 38 ms", "joined alpha in 38"),
            ("3 members agree", "2 members agree"),
            ("127.0.0.1:41731", "127.0.0.1"),
            (r#"{"after_ms":0.8,"holders":1}"#, r#"{"after_ms":0.8,"holders":2}"#),
            (
                "beta  alive  0.8  1  0.4 ms  210 ms  0  9c1f a07e  127.0.0.1:4",
                "beta suspect – 2 – – – – 127.0.0.1:5",
            ),
            ("chinwag join cw1home-7QX4", "chinwag join cw1work-7QX4"),
            ("   0  gamma  1.2 ms  ├───●  holds", "0 gamma 1.2 ms ├───● absent"),
            (
                "motto is on 3 of 3 owners: a, b and c · after 1 ms",
                "motto is on 2 of 3 owners: a and b · after 1 ms",
            ),
            ("a … z", "a b c"),
        ] {
            assert!(!line_fits(shown, said), "{shown} | {said} | {}", shaped(said));
        }
    }

    #[test]
    fn an_ellipsis_alone_is_any_lines() {
        assert!(fits(&lines("a\n…\nz"), &lines("a\nb\nc\nz")));
        assert!(fits(&lines("a\n…"), &lines("a")));
        assert!(!fits(&lines("a\n…\nz"), &lines("a\nb")));
        assert!(!fits(&lines("a"), &lines("a\nb")));
        assert!(begins(&lines("a\nb"), &lines("a\nb\nc")));
        assert!(!begins(&lines("a\nc"), &lines("a\nb\nc")));
    }
}
