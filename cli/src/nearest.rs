//! What was probably meant.

/// At most so many characters may differ; beyond it a suggestion is a guess.
const DISTANCE_MAX: usize = 2;

/// The candidate nearest to `typed`, if one is near: two slips of the finger away, or clearly its beginning.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &&str| {
        let distance = strsim::damerau_levenshtein(typed, candidate);
        let shorter = typed.chars().count().min(candidate.chars().count());
        // In a word of three letters two slips are another word.
        distance <= DISTANCE_MAX.min(shorter / 2)
            || (shorter >= 4 && strsim::jaro_winkler(typed, candidate) >= 0.9)
    };
    candidates
        .into_iter()
        .filter(|c| *c != typed)
        .filter(near)
        .min_by_key(|candidate| strsim::damerau_levenshtein(typed, candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_seen_through_and_strangers_are_not_suggested() {
        let keys = ["greeting", "visits", "app/name", "b"];
        assert_eq!(nearest("greting", keys), Some("greeting"));
        assert_eq!(nearest("gretings", keys), Some("greeting"));
        assert_eq!(nearest("vistis", keys), Some("visits"));
        assert_eq!(nearest("app/nam", keys), Some("app/name"));
        assert_eq!(nearest("weather", keys), None);
        assert_eq!(nearest("a", keys), None);
        assert_eq!(nearest("greeting", keys), None, "itself is no suggestion");
    }
}
