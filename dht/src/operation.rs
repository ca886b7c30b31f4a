//! What a client asks for, from the first question to the last answer.
//!
//! An operation asks the owners, all at once or, for a blob, one after the other. Each that does not answer within its RTO,
//! that is suspected or cannot be reached, has the next member in the ranking asked beside it. The client is answered as
//! soon as the quorum is there; the operation stays open a little for the rest, so that a read can repair the owners
//! that hold less.
//!
//! # A put of a cell in one round trip
//! A put says which values it takes the place of, and so it has to have seen them. It uses what this node holds as an owner, or saw
//! last. Where owners answer that beside it there is an older value, which it had not seen, it is put once more as a *new*
//! write that has seen it. So a put of a new key, or of one that this node has seen, takes one round trip, and any other takes
//! two. What was put at the same time or later, by the writers' clocks, is not replaced: both are kept. A delete or a removal has to know what there
//! is, and reads first.

use crate::Dht;
use crate::cell::{Cell, Edit};
use crate::commit::Waiter;
use crate::distance::Id;
use crate::event::Event;
use crate::io::{Ask, AskError, Asked, Outcome, Output, Reply, RequestId, Verdict};
use crate::load::Load;
use crate::message::{Found, Message, Question, Refusal, Stored, Want};
use crate::record::{Content, Record, RecordKey};
use chinwag_base::limits::{
    DHT_OPERATION_BYTES_MAX, DHT_OPERATIONS_MAX, LOADS_MAX, OWNERS_MAX, RECORD_OVERHEAD_BYTES,
};
use chinwag_base::{Key, Moment, NodeId, WallTime};
use chinwag_crdt::Dot;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Members beyond the owners that are asked in place of owners that do not answer.
const STAND_INS_MAX: usize = 4;
/// Members beyond the owners that a search asks too: who was an owner a moment ago.
const FIND_BEYOND: usize = 2;
/// How long an operation waits for the owners that are late, after its client has been answered.
const LINGER: Duration = Duration::from_secs(3);

/// Who wants the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client.
    Client(RequestId),
    /// A damaged blob of our own that was to be kept until then.
    Repair(Option<WallTime>),
}

/// The operations that are open.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    open: BTreeMap<u64, Operation>,
    requests: BTreeMap<RequestId, u64>,
    questions: BTreeMap<Question, (u64, usize)>,
    timers: BTreeSet<(Moment, u64)>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Operation {
    /// Who still waits for the outcome.
    origin: Option<Origin>,
    work: Work,
    id: Id,
    began: Moment,
    until: Moment,
    /// All members that may be asked, nearest first.
    ranking: Vec<NodeId>,
    owners: usize,
    quorum: usize,
    asked: Vec<Inquiry>,
    /// The first of `asked` that belongs to this round.
    round: usize,
    /// After the client was answered: when to close.
    close_at: Option<Moment>,
    bytes: usize,
}

/// What is being done.
#[derive(Debug)]
enum Work {
    Put(Put),
    Get {
        key: RecordKey,
        /// What to do once it is known what there is.
        then: Option<(Edit, Option<WallTime>)>,
        found: Option<Record>,
    },
    Find {
        key: RecordKey,
    },
}

#[derive(Debug)]
struct Put {
    record: Record,
    /// For a put of a register that may have to be put again: its value and its end.
    again: Option<(Edit, Option<WallTime>)>,
    /// What was there beside it.
    beside: Cell,
}

/// One member that was asked.
#[derive(Debug)]
struct Inquiry {
    shown: Asked,
    at: Moment,
    late_at: Moment,
    question: Option<Question>,
    /// What it holds.
    holds: Option<Holds>,
}

/// What a member that was asked holds.
#[derive(Debug, Clone, PartialEq)]
enum Holds {
    Nothing,
    Cell(Cell),
    Blob,
}

/// What a member answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Stored(Stored),
    Got(Found),
}

impl Operations {
    pub(crate) fn open(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The client is gone: the operation goes on, because owners may hold it already, but nobody is told.
    pub(crate) fn cancel(&mut self, request: RequestId) {
        if let Some(operation) = self.requests.remove(&request).and_then(|number| self.open.get_mut(&number))
        {
            operation.origin = None;
        }
    }
}

impl Operation {
    fn this_round(&self) -> &[Inquiry] {
        &self.asked[self.round..]
    }

    fn with(&self, verdict: impl Fn(&Verdict) -> bool) -> usize {
        self.this_round().iter().filter(|asked| verdict(&asked.shown.verdict)).count()
    }

    /// Members that have said what they hold.
    fn answers(&self) -> usize {
        self.this_round().iter().filter(|asked| asked.holds.is_some()).count()
    }

    /// How many members a find asks.
    fn to_find(&self) -> usize {
        (self.owners + FIND_BEYOND).min(self.ranking.len())
    }

    fn is_waiting(&self) -> bool {
        self.with(|verdict| *verdict == Verdict::Waiting) > 0
    }

    /// Whether some that were asked in this round may still answer, in time or late.
    fn may_answer(&self) -> bool {
        self.this_round()
            .iter()
            .any(|asked| asked.question.is_some() || asked.shown.verdict == Verdict::Waiting)
    }

    fn is_put(&self) -> bool {
        matches!(self.work, Work::Put(_))
    }
}

/// From the request to the first questions.
impl Dht {
    /// Begins what is asked for.
    pub(crate) fn begin(&mut self, origin: Origin, ask: Ask, until: Moment) -> Result<(), AskError> {
        let is_write = matches!(ask, Ask::Put { .. } | Ask::PutBlob { .. });
        if is_write && self.members.get(&self.me).is_some_and(|me| !me.may_write) {
            return Err(AskError::Reader);
        }
        let (work, key, quorum) = match ask {
            Ask::Put { key, edit, expires, quorum } => {
                (self.plan_put(&key, edit, expires)?, RecordKey::Cell(key), quorum)
            }
            Ask::PutBlob { bytes, expires, quorum } => {
                let record =
                    Record::blob(bytes, self.me, self.wall()).until(expires).validate(self.wall())?;
                let record = record.into_record();
                let key = record.key.clone();
                (Work::Put(Put { record, again: None, beside: Cell::new() }), key, quorum)
            }
            Ask::Get { key, quorum } => {
                (Work::Get { key: key.clone(), then: None, found: None }, key, quorum)
            }
            Ask::Find { key } => (Work::Find { key: key.clone() }, key, None),
        };
        let id = key.id();
        let ranking = self.placement.nearest(&id, OWNERS_MAX);
        let owners = self.config.owners.clamp(1, ranking.len().max(1));
        if let Some(asked) = quorum.filter(|quorum| *quorum > owners || *quorum == 0) {
            return Err(AskError::Quorum { asked, owners });
        }
        let bytes = RECORD_OVERHEAD_BYTES
            + match &work {
                Work::Put(put) => put.record.content.len(),
                Work::Get { .. } | Work::Find { .. } => 0,
            };
        let operations = &mut self.operations;
        let open = operations.open.len();
        if open >= DHT_OPERATIONS_MAX || operations.bytes + bytes > DHT_OPERATION_BYTES_MAX {
            return Err(AskError::Busy { open });
        }
        operations.next += 1;
        operations.bytes += bytes;
        let number = operations.next;
        if let Origin::Client(request) = origin {
            operations.requests.insert(request, number);
        }
        operations.timers.insert((until, number));
        let quorum = quorum.unwrap_or(owners / 2 + 1);
        let operation = Operation {
            origin: Some(origin),
            work,
            id,
            began: self.now,
            until,
            ranking,
            owners,
            quorum,
            asked: Vec::new(),
            round: 0,
            close_at: None,
            bytes,
        };
        operations.open.insert(number, operation);
        self.ask_owners(number);
        self.go_on(number);
        Ok(())
    }

    /// What this node has last seen of a cell.
    fn known(&self, id: &Id) -> Cell {
        let held = self.store.newest(id, self.wall()).and_then(|held| held.cell());
        held.or(self.seen.cell(id)).cloned().unwrap_or_default()
    }

    fn plan_put(&mut self, key: &Key, edit: Edit, expires: Option<WallTime>) -> Result<Work, AskError> {
        let id = RecordKey::Cell(key.clone()).id();
        let known = self.known(&id);
        if matches!(edit, Edit::Delete | Edit::Remove(_)) {
            let key = RecordKey::Cell(key.clone());
            return Ok(Work::Get { key, then: Some((edit, expires)), found: None });
        }
        let record = self.write(key, &known, &edit, expires)?;
        let again = matches!(edit, Edit::Set(_)).then_some((edit, expires));
        Ok(Work::Put(Put { record, again, beside: Cell::new() }))
    }

    /// A new write of `edit` on a cell that looks like `known`.
    fn write(
        &mut self,
        key: &Key,
        known: &Cell,
        edit: &Edit,
        expires: Option<WallTime>,
    ) -> Result<Record, AskError> {
        let id = RecordKey::Cell(key.clone()).id();
        let wall = self.wall();
        if let Some(latest) = known.latest() {
            self.hlc.observe(latest, wall);
        }
        let dot = Dot::new(self.replica, self.seen.mint(id));
        let change = known.plan(edit, dot, self.hlc.tick(wall), expires)?;
        let record = Record::cell(key.clone(), change.clone(), self.me, wall).validate(wall)?.into_record();
        let mut seen = known.clone();
        if seen.join(&change).is_ok() {
            self.seen.note(id, &seen);
        }
        Ok(record)
    }

    /// The first questions of a round.
    fn ask_owners(&mut self, number: u64) {
        let Some(operation) = self.operations.open.get(&number) else { return };
        let is_blob = matches!(&operation.work, Work::Get { key: RecordKey::Blob(_), .. });
        let first = match &operation.work {
            // One is enough. The others follow if it has nothing, or is late.
            Work::Get { .. } if is_blob => 1,
            Work::Find { .. } => operation.to_find(),
            Work::Get { .. } | Work::Put(_) => operation.owners,
        };
        if is_blob {
            let order = self.nearest_first(&operation.ranking[..operation.owners]);
            if let Some(operation) = self.operations.open.get_mut(&number) {
                operation.ranking[..order.len()].clone_from_slice(&order);
            }
        }
        for _ in 0..first {
            self.ask_next(number);
        }
    }

    /// Owners in the order in which a blob is asked for: this node, then by their round trips.
    fn nearest_first(&self, owners: &[NodeId]) -> Vec<NodeId> {
        let mut order = owners.to_vec();
        let trip = |node: &NodeId| self.peers.get(node).and_then(|peer| peer.gets.smoothed());
        order.sort_by_key(|node| {
            (*node != self.me, !self.peers.contains_key(node), trip(node).unwrap_or(Duration::MAX))
        });
        order
    }

    /// Asks the next member in the ranking; then another one, if that one is not to be reached or is in doubt.
    fn ask_next(&mut self, number: u64) -> bool {
        let Some(operation) = self.operations.open.get(&number) else { return false };
        let next = operation.this_round().len();
        let beyond = match &operation.work {
            Work::Find { .. } => FIND_BEYOND,
            Work::Get { .. } | Work::Put(_) => STAND_INS_MAX,
        };
        if next >= operation.ranking.len().min(operation.owners + beyond) {
            return false;
        }
        let node = operation.ranking[next];
        let in_doubt = self.members.get(&node).is_some_and(|member| member.suspect);
        let reached = self.ask_one(number, node);
        let is_find =
            self.operations.open.get(&number).is_some_and(|op| matches!(op.work, Work::Find { .. }));
        if (!reached || in_doubt) && !is_find {
            self.ask_next(number);
        }
        true
    }

    /// Asks one member. False if there is no way to it.
    fn ask_one(&mut self, number: u64, node: NodeId) -> bool {
        let question = self.question();
        let (now, me) = (self.now, self.me);
        let Some(operation) = self.operations.open.get_mut(&number) else { return false };
        let rank = operation.rank(&node, &self.placement);
        let timeout = self.peers.get(&node).map(|peer| match operation.is_put() {
            true => peer.puts.timeout(),
            false => peer.gets.timeout(),
        });
        let reachable = node == me || timeout.is_some();
        let verdict = if reachable { Verdict::Waiting } else { Verdict::Unreachable };
        let shown = Asked { node, rank, after: now.since(operation.began), took: None, verdict };
        let late_at = now + timeout.unwrap_or(LINGER);
        let asks = reachable && node != me;
        operation.asked.push(Inquiry {
            shown,
            at: now,
            late_at,
            question: asks.then_some(question),
            holds: None,
        });
        let asked = operation.asked.len() - 1;
        let (id, work) = (operation.id, &operation.work);
        let message = match work {
            Work::Put(put) => Message::Put { question, record: put.record.clone(), passed_on: false },
            Work::Get { key, .. } => Message::Get { question, key: key.clone(), want: Want::Whole },
            Work::Find { key } => Message::Get { question, key: key.clone(), want: Want::Digest },
        };
        if asks {
            self.operations.questions.insert(question, (number, asked));
            self.operations.timers.insert((late_at, number));
            self.send(node, message);
        } else if node == me {
            self.ask_ourselves(number, asked, id, message);
        }
        reachable
    }

    fn ask_ourselves(&mut self, number: u64, asked: usize, id: Id, message: Message) {
        match message {
            Message::Put { record, .. } => {
                let change = match &record.content {
                    Content::Cell(cell) => Some(cell.clone()),
                    Content::Blob(_) => None,
                };
                match record.validate(self.wall()) {
                    Ok(record) => self.stage(record, Waiter::Own { operation: number, asked, change }),
                    Err(why) => {
                        let why = Refusal::Record(crate::message::Text::new(why.to_string()));
                        self.answered(number, asked, Answer::Stored(Stored::Refused(why)));
                    }
                }
            }
            Message::Get { want, .. } => match self.look_up(&id, want) {
                Ok(found) => self.answered(number, asked, Answer::Got(found)),
                Err(()) if self.loads.len() >= LOADS_MAX => {
                    self.answered(number, asked, Answer::Got(Found::Refused(Refusal::Busy)));
                }
                Err(()) => self.load(id, Load::Own { operation: number, asked, id }),
            },
            _ => {}
        }
    }
}

impl Operation {
    /// A blob's owners are asked in another order than that of the ranking.
    fn rank(&self, node: &NodeId, placement: &crate::Placement) -> usize {
        placement.rank(&self.id, node).unwrap_or(self.ranking.len())
    }
}

/// Answers.
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
                (Err(why), _) => {
                    Verdict::Refused(Refusal::Record(crate::message::Text::new(why.to_string())))
                }
                // Not what was asked for.
                (Ok(_), _) => Verdict::Absent,
            },
        };
        if in_this_round {
            self.go_on(number);
        }
    }

    pub(crate) fn operations_peer_down(&mut self, peer: NodeId) {
        self.unreachable(|asked| asked.shown.node == peer);
    }

    /// The bulk lane is full: whatever was asked last has not left. Nobody else's question is touched.
    pub(crate) fn on_send_refused(&mut self, to: NodeId) {
        self.hand_off_refused(to);
        let last = self.operations.questions.iter().rev().find(|(_, (number, asked))| {
            self.operations.open.get(number).is_some_and(|op| op.asked[*asked].shown.node == to)
        });
        if let Some((question, _)) = last {
            let question = *question;
            self.unreachable(|asked| asked.question == Some(question));
        }
    }

    /// Their answers will not come.
    fn unreachable(&mut self, which: impl Fn(&Inquiry) -> bool) {
        let mut touched = Vec::new();
        for (number, operation) in &mut self.operations.open {
            for asked in operation.asked.iter_mut().filter(|asked| which(asked)) {
                if let Some(question) = asked.question.take() {
                    self.operations.questions.remove(&question);
                    if asked.shown.verdict == Verdict::Waiting {
                        touched.push(*number);
                    }
                    asked.shown.verdict = Verdict::Unreachable;
                }
            }
        }
        for number in touched {
            self.ask_next(number);
            self.go_on(number);
        }
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
            for _ in 0..stand_ins {
                self.ask_next(number);
            }
            self.go_on(number);
        }
    }
}

/// Decisions.
impl Dht {
    /// Looks whether the operation has what it needs.
    fn go_on(&mut self, number: u64) {
        let Some(operation) = self.operations.open.get(&number) else { return };
        if operation.close_at.is_some() {
            if !operation.may_answer() {
                self.close(number);
            }
            return;
        }
        match &operation.work {
            Work::Put(_) => self.go_on_with_put(number),
            Work::Get { key: RecordKey::Blob(_), .. } => self.go_on_with_blob(number),
            Work::Get { .. } => self.go_on_with_get(number),
            // This node answers itself at once, and the others are still to be asked then.
            Work::Find { .. } if operation.asked.len() < operation.to_find() => {}
            Work::Find { .. } if !operation.is_waiting() => self.resolve(number, Ok(Outcome::Traced)),
            Work::Find { .. } => {}
        }
    }

    fn go_on_with_put(&mut self, number: u64) {
        let Some(operation) = self.operations.open.get_mut(&number) else { return };
        let stored = operation.with(|verdict| *verdict == Verdict::Stored);
        let quorum = operation.quorum;
        let Work::Put(put) = &mut operation.work else { return };
        if stored < quorum {
            return self.give_up_if_hopeless(number);
        }
        let key = put.record.key.clone();
        let beside = std::mem::take(&mut put.beside);
        let change = match &put.record.content {
            Content::Cell(cell) => cell.clone(),
            Content::Blob(_) => Cell::new(),
        };
        if let Some(latest) = beside.latest() {
            let wall = self.wall();
            self.hlc.observe(latest, wall);
        }
        let Some(operation) = self.operations.open.get_mut(&number) else { return };
        let Work::Put(put) = &mut operation.work else { return };
        let older = beside.older_than(&change);
        if let (Some((edit, expires)), RecordKey::Cell(name)) = (put.again.take(), &key)
            && older.has_unseen_by(&change)
        {
            // There was an older value that this put had not seen: a new write, which has seen it, takes its place.
            let record = self.write(name, &older, &edit, expires);
            let Some(operation) = self.operations.open.get_mut(&number) else { return };
            if let (Ok(record), Work::Put(put)) = (record, &mut operation.work) {
                put.record = record;
                operation.round = operation.asked.len();
                self.ask_owners(number);
                return self.go_on(number);
            }
        }
        let Some(operation) = self.operations.open.get(&number) else { return };
        let owners = operation.owners;
        self.resolve(number, Ok(Outcome::Stored { key, holders: stored, owners }));
    }

    fn go_on_with_get(&mut self, number: u64) {
        let Some(operation) = self.operations.open.get_mut(&number) else { return };
        let (answers, waiting) = (operation.answers(), operation.is_waiting());
        if answers < operation.quorum {
            return self.give_up_if_hopeless(number);
        }
        let Work::Get { found, then, key } = &mut operation.work else { return };
        // Nothing was found: that is a "no" only once nobody who is on time can say otherwise.
        if found.is_none() && waiting {
            return;
        }
        let cell = match found.as_ref().map(|record| &record.content) {
            Some(Content::Cell(cell)) => cell.clone(),
            _ => Cell::new(),
        };
        let id = operation.id;
        self.seen.note(id, &cell);
        if let (Some((edit, expires)), RecordKey::Cell(name)) = (then.take(), key.clone()) {
            return self.change(number, &name, &cell, &edit, expires);
        }
        let found = found.clone().filter(|record| !record.is_tombstone());
        self.resolve(number, Ok(Outcome::Found(found)));
    }

    /// What there is, is known: the second half of a delete or a removal.
    fn change(&mut self, number: u64, key: &Key, cell: &Cell, edit: &Edit, expires: Option<WallTime>) {
        match self.write(key, cell, edit, expires) {
            Err(why) => self.resolve(number, Err(why)),
            Ok(record) => {
                let Some(operation) = self.operations.open.get_mut(&number) else { return };
                operation.round = operation.asked.len();
                operation.work = Work::Put(Put { record, again: None, beside: Cell::new() });
                self.ask_owners(number);
                self.go_on(number);
            }
        }
    }

    fn go_on_with_blob(&mut self, number: u64) {
        let Some(operation) = self.operations.open.get(&number) else { return };
        let Work::Get { found, .. } = &operation.work else { return };
        if found.is_some() {
            let found = found.clone();
            return self.resolve(number, Ok(Outcome::Found(found)));
        }
        if operation.is_waiting() || self.ask_next(number) {
            return;
        }
        let Some(operation) = self.operations.open.get(&number) else { return };
        // Who was asked last may be this node, which answers at once.
        if operation.close_at.is_some() || operation.is_waiting() {
            return;
        }
        let all_answered = operation.answers() == operation.this_round().len();
        if all_answered || operation.answers() > 0 && !operation.may_answer() {
            self.resolve(number, Ok(Outcome::Found(None)));
        } else {
            self.give_up_if_hopeless(number);
        }
    }

    /// If nobody who was asked can answer any more, and there is nobody else to ask, there is no point in waiting.
    fn give_up_if_hopeless(&mut self, number: u64) {
        let Some(operation) = self.operations.open.get(&number) else { return };
        if operation.may_answer() || self.ask_next(number) {
            return;
        }
        let Some(operation) = self.operations.open.get(&number) else { return };
        if operation.close_at.is_some() || operation.may_answer() {
            return;
        }
        let refusals = operation.this_round().iter().filter_map(|asked| match &asked.shown.verdict {
            Verdict::Refused(why) => Some(why.clone()),
            _ => None,
        });
        match refusals.last() {
            Some(why) => self.resolve(number, Err(AskError::Refused { why })),
            // They may come back; there is time.
            None => {}
        }
    }

    fn too_late(&mut self, number: u64) {
        let Some(operation) = self.operations.open.get(&number) else { return };
        let answered = match &operation.work {
            Work::Put(_) => operation.with(|verdict| *verdict == Verdict::Stored),
            Work::Get { .. } | Work::Find { .. } => operation.answers(),
        };
        let is_find = matches!(operation.work, Work::Find { .. });
        let is_blob = matches!(operation.work, Work::Get { key: RecordKey::Blob(_), .. });
        let needed = if is_blob { operation.this_round().len() } else { operation.quorum };
        let result = if is_find { Ok(Outcome::Traced) } else { Err(AskError::Timeout { answered, needed }) };
        self.resolve(number, result);
    }

    /// Answers the client. The operation stays open for those who have not answered.
    fn resolve(&mut self, number: u64, result: Result<Outcome, AskError>) {
        let now = self.now;
        let Some(operation) = self.operations.open.get_mut(&number) else { return };
        let close_at = now + LINGER;
        operation.close_at = Some(close_at);
        mark_stale(operation);
        let trace = operation.asked.iter().map(|asked| asked.shown.clone()).collect();
        let origin = operation.origin.take();
        let is_done = !operation.may_answer();
        self.operations.timers.insert((close_at, number));
        match origin {
            Some(Origin::Client(request)) => {
                self.operations.requests.remove(&request);
                self.output(Output::Reply { request, reply: Reply { result, trace } });
            }
            Some(Origin::Repair(expires)) => self.repaired(number, result, expires),
            None => {}
        }
        if is_done {
            self.close(number);
        }
    }

    fn repaired(&mut self, number: u64, result: Result<Outcome, AskError>, expires: Option<WallTime>) {
        let key = self.operations.open.get(&number).and_then(|op| match &op.work {
            Work::Get { key, .. } => Some(key.clone()),
            _ => None,
        });
        match result {
            Ok(Outcome::Found(Some(record))) => {
                if let Ok(record) = record.until(expires).validate(self.wall()) {
                    self.stage(record, Waiter::Repair);
                }
            }
            _ => self.operations_event(key.map(|key| Event::Irreparable { key })),
        }
    }

    fn operations_event(&mut self, event: Option<Event>) {
        if let Some(event) = event {
            self.event(event);
        }
    }

    /// Nothing more is waited for. Owners that held less than what was found are sent it.
    fn close(&mut self, number: u64) {
        let Some(mut operation) = self.operations.open.remove(&number) else { return };
        self.operations.bytes -= operation.bytes;
        for asked in &operation.asked {
            if let Some(question) = asked.question {
                self.operations.questions.remove(&question);
            }
        }
        let timers = operation.asked.iter().map(|asked| asked.late_at);
        for at in timers.chain([operation.until]).chain(operation.close_at) {
            self.operations.timers.remove(&(at, number));
        }
        mark_stale(&mut operation);
        let owners = operation.owners;
        let stale = |asked: &&Inquiry| asked.shown.rank < owners && asked.shown.verdict == Verdict::Stale;
        let stale: Vec<NodeId> = operation.asked.iter().filter(stale).map(|asked| asked.shown.node).collect();
        let Work::Get { found: Some(record), key, .. } = operation.work else { return };
        for node in &stale {
            if *node != self.me {
                let question = self.question();
                self.send(*node, Message::Put { question, record: record.clone(), passed_on: true });
            } else if let Ok(record) = record.clone().validate(self.wall()) {
                self.stage(record, Waiter::Nobody);
            }
        }
        if !stale.is_empty() {
            self.event(Event::ReadRepaired { key, owners: stale.len() });
        }
    }
}

/// Joins one owner's record into what was found so far.
fn merge(found: &mut Option<Record>, record: Record, wall: WallTime) {
    let Some(before) = found.take() else {
        *found = Some(record);
        return;
    };
    let joined = match (before.clone().validate(wall), record.validate(wall)) {
        (Ok(mine), Ok(theirs)) => {
            let ((mut mine, blob), (theirs, _)) =
                (crate::store::Held::of(mine), crate::store::Held::of(theirs));
            match mine.join(&theirs, wall) {
                Ok(()) => mine.to_record(blob),
                Err(_) => None,
            }
        }
        _ => None,
    };
    *found = Some(joined.unwrap_or(before));
}

/// Marks those that answered with less than what was found.
fn mark_stale(operation: &mut Operation) {
    let Work::Get { found: Some(found), .. } = &operation.work else { return };
    let whole = match &found.content {
        Content::Cell(cell) => Holds::Cell(cell.clone()),
        Content::Blob(_) => Holds::Blob,
    };
    let owners = operation.owners;
    for asked in &mut operation.asked {
        if asked.shown.rank < owners && asked.holds.as_ref().is_some_and(|holds| *holds != whole) {
            asked.shown.verdict = Verdict::Stale;
        }
    }
}
