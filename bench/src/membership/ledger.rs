//! What each member believes of each other, kept as it changes, so that nobody has to ask all of them all the time.

use std::time::Duration;

/// What a member believes of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Belief {
    /// It has not heard of it.
    #[default]
    Unknown,
    /// It takes part.
    Alive,
    /// It may be gone.
    Suspect,
    /// It is gone.
    Down,
}

impl Belief {
    fn is_present(self) -> bool {
        matches!(self, Belief::Alive | Belief::Suspect)
    }

    fn is_accusation(self) -> bool {
        matches!(self, Belief::Suspect | Belief::Down)
    }
}

/// Somebody said of somebody that it may be gone, or is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accusation {
    /// When.
    pub at: Duration,
    /// Who.
    pub by: usize,
    /// Of whom.
    pub of: usize,
    /// Suspect or down.
    pub belief: Belief,
}

/// A member that runs was believed to be gone by somebody, and had not been so by anybody just before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FalseDeath {
    /// When.
    pub at: Duration,
    /// Who was believed to be gone.
    pub of: usize,
}

/// All beliefs of one overlay.
#[derive(Debug)]
pub struct Ledger {
    members: usize,
    beliefs: Vec<Belief>,
    dead: Vec<bool>,
    /// How many that run believe each to be down.
    down_by: Vec<usize>,
    /// How many that run believe each to be suspect or down.
    accused_by: Vec<usize>,
    alive_pairs: usize,
    present_pairs: usize,
    ninety_nine_percent: Option<Duration>,
    complete: Option<Duration>,
    accusations: Vec<Accusation>,
    false_deaths: Vec<FalseDeath>,
    false_suspicions: Vec<Duration>,
}

impl Ledger {
    /// For so many members, who know nobody but themselves.
    pub fn new(members: usize) -> Self {
        Ledger {
            members,
            beliefs: vec![Belief::Unknown; members * members],
            dead: vec![false; members],
            down_by: vec![0; members],
            accused_by: vec![0; members],
            alive_pairs: 0,
            present_pairs: 0,
            ninety_nine_percent: None,
            complete: None,
            accusations: Vec::new(),
            false_deaths: Vec::new(),
            false_suspicions: Vec::new(),
        }
    }

    /// A belief, as it is now.
    pub fn belief(&self, by: usize, of: usize) -> Belief {
        self.beliefs[by * self.members + of]
    }

    /// A belief has changed.
    pub fn note(&mut self, at: Duration, by: usize, of: usize, belief: Belief) {
        let before = self.belief(by, of);
        if by == of || before == belief || self.dead[by] {
            return;
        }
        self.beliefs[by * self.members + of] = belief;
        self.withdraw(of, before);
        self.alive_pairs += usize::from(belief == Belief::Alive);
        self.present_pairs += usize::from(belief.is_present());
        if belief.is_accusation() {
            self.accusations.push(Accusation { at, by, of, belief });
            self.accused_by[of] += 1;
            if self.accused_by[of] == 1 && !self.dead[of] {
                self.false_suspicions.push(at);
            }
        }
        if belief == Belief::Down {
            self.down_by[of] += 1;
            if self.down_by[of] == 1 && !self.dead[of] {
                self.false_deaths.push(FalseDeath { at, of });
            }
        }
        let all = self.members * (self.members - 1);
        if self.alive_pairs * 100 >= all * 99 {
            self.ninety_nine_percent.get_or_insert(at);
        }
        if self.alive_pairs == all {
            self.complete.get_or_insert(at);
        }
    }

    /// What was believed of a member is not believed any more.
    fn withdraw(&mut self, of: usize, belief: Belief) {
        self.alive_pairs -= usize::from(belief == Belief::Alive);
        self.present_pairs -= usize::from(belief.is_present());
        self.accused_by[of] -= usize::from(belief.is_accusation());
        self.down_by[of] -= usize::from(belief == Belief::Down);
    }

    /// Somebody began to doubt, which does not change what it shows.
    pub fn doubt(&mut self, at: Duration, by: usize, of: usize) {
        self.accusations.push(Accusation { at, by, of, belief: Belief::Suspect });
    }

    /// A member is dead indeed: what it believes is of no interest any more, and who believes it is right.
    pub fn bury(&mut self, member: usize) {
        if std::mem::replace(&mut self.dead[member], true) {
            return;
        }
        for of in 0..self.members {
            self.withdraw(of, self.belief(member, of));
            self.beliefs[member * self.members + of] = Belief::Unknown;
        }
    }

    /// How many there are that have not died.
    pub fn survivors(&self) -> usize {
        self.dead.iter().filter(|dead| !**dead).count()
    }

    /// Whether that one has died.
    pub fn is_dead(&self, member: usize) -> bool {
        self.dead[member]
    }

    /// Whether all survivors know each other, and believe nobody else to be there.
    pub fn is_full(&self) -> bool {
        let survivors = self.survivors();
        let gone = |member: usize| !self.dead[member] || self.down_by[member] == survivors;
        self.present_pairs == survivors * (survivors - 1) && (0..self.members).all(gone)
    }

    /// How many survivors believe that one to be down.
    pub fn down_by(&self, of: usize) -> usize {
        self.down_by[of]
    }

    /// Whether all survivors believe each other, and nobody else, to be alive.
    pub fn is_complete(&self) -> bool {
        let survivors = self.survivors();
        self.alive_pairs == survivors * (survivors - 1) && self.wrong() == 0
    }

    /// Beliefs of survivors about each other that are wrong.
    pub fn wrong(&self) -> usize {
        let alive = |member: &usize| !self.dead[*member];
        let others = |by: usize| (0..self.members).filter(move |of| *of != by);
        let wrong =
            |by: usize| others(by).filter(alive).filter(|of| self.belief(by, *of) != Belief::Alive).count();
        (0..self.members).filter(alive).map(wrong).sum()
    }

    /// How many pairs believe in each other, for a look that costs nothing.
    pub fn alive_pairs(&self) -> usize {
        self.alive_pairs
    }

    /// How many pairs know each other and do not believe each other to be gone.
    pub fn present_pairs(&self) -> usize {
        self.present_pairs
    }

    /// When 99 % of all views' entries were there for the first time.
    pub fn ninety_nine_percent(&self) -> Option<Duration> {
        self.ninety_nine_percent
    }

    /// When all of them were.
    pub fn complete(&self) -> Option<Duration> {
        self.complete
    }

    /// Everything that was said against somebody, in order.
    pub fn accusations(&self) -> &[Accusation] {
        &self.accusations
    }

    /// When a member that runs was accused by somebody, and had not been so by anybody just before.
    pub fn false_suspicions(&self) -> &[Duration] {
        &self.false_suspicions
    }

    /// Every time that a member was believed to be gone and was not.
    pub fn false_deaths(&self) -> &[FalseDeath] {
        &self.false_deaths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(1);

    fn grown(members: usize) -> Ledger {
        let mut ledger = Ledger::new(members);
        for by in 0..members {
            (0..members).for_each(|of| ledger.note(AT, by, of, Belief::Alive));
        }
        ledger
    }

    #[test]
    fn complete_is_when_the_last_entry_is_there() {
        let mut ledger = grown(3);
        assert!(ledger.is_complete() && ledger.complete() == Some(AT));
        ledger.note(AT, 0, 1, Belief::Suspect);
        assert_eq!((ledger.is_complete(), ledger.wrong()), (false, 1));
        assert_eq!((ledger.alive_pairs(), ledger.present_pairs()), (5, 6));
        ledger.note(AT, 2, 1, Belief::Suspect);
        assert_eq!(ledger.false_suspicions(), [AT], "one suspicion that two believe");
    }

    #[test]
    fn one_false_death_is_counted_once_however_many_believe_it() {
        let mut ledger = grown(4);
        (0..3).for_each(|by| ledger.note(AT, by, 3, Belief::Down));
        assert_eq!(ledger.false_deaths().len(), 1);
        (0..3).for_each(|by| ledger.note(AT, by, 3, Belief::Alive));
        ledger.note(2 * AT, 1, 3, Belief::Down);
        assert_eq!(ledger.false_deaths(), [FalseDeath { at: AT, of: 3 }, FalseDeath { at: 2 * AT, of: 3 }]);
    }

    #[test]
    fn the_dead_are_not_asked() {
        let mut ledger = grown(3);
        ledger.bury(2);
        assert!(!ledger.is_complete() && !ledger.is_full(), "two survivors still believe in it");
        (0..2).for_each(|by| ledger.note(AT, by, 2, Belief::Down));
        ledger.note(AT, 2, 0, Belief::Down);
        assert!(ledger.is_complete() && ledger.is_full() && ledger.false_deaths().is_empty());
        assert!(ledger.is_dead(2) && !ledger.is_dead(1));
        assert_eq!((ledger.survivors(), ledger.down_by(2), ledger.down_by(0)), (2, 2, 0));
    }
}
