//! What those who were asked say, or fail to say.

use crate::Dht;
use crate::io::Verdict;
use crate::message::{Found, Question, Refusal, Stored, Text};
use crate::operation::{Answer, Holds, Inquiry, Work};
use crate::outcome::merge;
use crate::record::{Content, RecordError};
use chinwag_base::NodeId;
use std::time::Duration;

/// How long after its lane was full a member is asked again.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

impl Dht {
    pub(crate) fn on_stored(&mut self, from: NodeId, question: Question, verdict: Stored) {
        if !self.hand_off_stored(from, question, &verdict) {
            self.on_answer(from, question, Answer::Stored(verdict));
        }
    }

    pub(crate) fn on_got(&mut self, from: NodeId, question: Question, found: Found) {
        self.on_answer(from, question, Answer::Got(found));
    }

    fn on_answer(&mut self, from: NodeId, question: Question, answer: Answer) {
        let Some((number, asked)) = self.operations.questions.get(&question).copied() else { return };
        let Some(operation) = self.operations.open.get(&number) else { return };
        if operation.asked[asked].shown.node != from {
            return;
        }
        self.operations.questions.remove(&question);
        let took = self.now.since(operation.asked[asked].at);
        if let Some(peer) = self.peers.get_mut(&from) {
            match &answer {
                Answer::Stored(_) => peer.puts.measured(took),
                Answer::Got(_) => peer.gets.measured(took),
            }
        }
        self.answered(number, asked, answer);
    }

    /// Somebody who was asked has answered, perhaps this node itself.
    pub(crate) fn answered(&mut self, number: u64, asked: usize, answer: Answer) {
        let wall = self.wall();
        let Some(operation) = self.operations.open.get_mut(&number) else { return };
        let in_this_round = asked >= operation.round;
        let one = &mut operation.asked[asked];
        one.question = None;
        one.shown.took = Some(self.now.since(one.at));
        let id = operation.id;
        one.shown.verdict = match answer {
            Answer::Stored(Stored::Refused(why)) | Answer::Got(Found::Refused(why)) => Verdict::Refused(why),
            Answer::Stored(stored) => {
                if let (Stored::Merged(record), Work::Put(put)) = (stored, &mut operation.work)
                    && record.key.id() == id
                    && let Ok(record) = record.validate(wall)
                    && let Content::Cell(cell) = &record.content
                {
                    // Too large to join: then it is not replaced, and stays beside.
                    let _full = put.beside.join(cell);
                }
                Verdict::Stored
            }
            Answer::Got(Found::Digest(_)) => {
                one.holds = Some(Holds::Blob);
                Verdict::Holds
            }
            Answer::Got(Found::Absent) => {
                one.holds = Some(Holds::Nothing);
                Verdict::Absent
            }
            Answer::Got(Found::Record(record)) => match (record.validate(wall), &mut operation.work) {
                (Ok(record), Work::Get { found, .. }) if record.key.id() == id => {
                    let record = record.into_record();
                    one.holds = Some(match &record.content {
                        Content::Cell(cell) => Holds::Cell(cell.clone()),
                        Content::Blob(_) => Holds::Blob,
                    });
                    let verdict = if record.is_tombstone() { Verdict::Deleted } else { Verdict::Holds };
                    merge(found, record, wall);
                    verdict
                }
                (Ok(record), Work::Find { .. }) if record.key.id() == id && record.is_tombstone() => {
                    one.holds = Some(Holds::Nothing);
                    Verdict::Deleted
                }
                // It has just ended, by one clock or the other.
                (Err(RecordError::Expired { .. }), _) => {
                    one.holds = Some(Holds::Nothing);
                    Verdict::Absent
                }
                (Err(why), _) => Verdict::Refused(Refusal::Record(Text::new(why.to_string()))),
                // Not what was asked for.
                (Ok(_), _) => Verdict::Absent,
            },
        };
        // What is held counts, so that reads of large cells do not add up unseen.
        let held = match &operation.work {
            Work::Get { found: Some(record), .. } => record.content.len() * operation.asked.len(),
            Work::Put(put) => put.record.content.len() + put.beside.weight(),
            Work::Get { .. } | Work::Find { .. } => 0,
        };
        if operation.close_at.is_none() && held > operation.bytes {
            self.operations.bytes += held - operation.bytes;
            operation.bytes = held;
        }
        if in_this_round {
            self.go_on(number);
        }
    }

    pub(crate) fn operations_peer_down(&mut self, peer: NodeId) {
        let of_peer = |one: &Inquiry| one.shown.node == peer && one.question.is_some();
        let lost = self.operations.open.iter().flat_map(|(number, operation)| {
            let asked = operation.asked.iter().enumerate().filter(|(_, one)| of_peer(one));
            asked.map(|(asked, _)| (*number, asked))
        });
        for (number, asked) in lost.collect::<Vec<_>>() {
            self.unreachable(number, asked);
        }
    }

    /// The bulk lane is full: whatever was asked last has not left. It is asked again when there may be room.
    pub(crate) fn on_send_refused(&mut self, to: NodeId) {
        let is_to = |(number, asked): &(u64, usize)| {
            self.operations.open.get(number).is_some_and(|operation| operation.asked[*asked].shown.node == to)
        };
        let last = self
            .operations
            .questions
            .iter()
            .rev()
            .find(|(_, at)| is_to(at))
            .map(|(question, at)| (*question, *at));
        let handing_off = self.hand_off_question(to);
        match last {
            Some((question, (number, asked))) if handing_off.is_none_or(|other| other < question) => {
                self.unreachable(number, asked);
                self.operations.timers.insert((self.now + REFUSED_PAUSE, number));
            }
            _ => self.hand_off_refused(to),
        }
    }

    /// The answer of one who was asked will not come.
    fn unreachable(&mut self, number: u64, asked: usize) {
        let Some(operation) = self.operations.open.get_mut(&number) else { return };
        let one = &mut operation.asked[asked];
        let Some(question) = one.question.take() else { return };
        self.operations.questions.remove(&question);
        let was_on_time = one.shown.verdict == Verdict::Waiting;
        one.shown.verdict = Verdict::Unreachable;
        if asked >= operation.round && operation.close_at.is_none() && was_on_time {
            self.ask_next(number);
        }
        self.go_on(number);
    }

    pub(crate) fn tick_operations(&mut self) {
        while let Some((at, number)) = self.operations.timers.first().copied()
            && at <= self.now
        {
            self.operations.timers.remove(&(at, number));
            self.tick_operation(number);
        }
    }

    fn tick_operation(&mut self, number: u64) {
        let now = self.now;
        let Some(operation) = self.operations.open.get_mut(&number) else { return };
        if operation.close_at.is_some_and(|at| at <= now) {
            return self.close(number);
        }
        let round = operation.round;
        let late = operation.asked[round..].iter_mut().filter(|asked| {
            asked.shown.verdict == Verdict::Waiting && asked.question.is_some() && asked.late_at <= now
        });
        let mut stand_ins = 0;
        for asked in late {
            asked.shown.verdict = Verdict::Late;
            stand_ins += 1;
        }
        let answered = operation.close_at.is_some();
        if operation.until <= now && !answered {
            return self.too_late(number);
        }
        if !answered {
            self.ask_the_refused(number);
            for _ in 0..stand_ins {
                self.ask_next(number);
            }
            self.go_on(number);
        }
    }
}
