//! When an operation has what it needs, what its client is told, and what is repaired afterwards.

use crate::Dht;
use crate::cell::{Cell, Edit};
use crate::commit::Waiter;
use crate::event::Event;
use crate::held::Held;
use crate::io::{AskError, Outcome, Output, Reply, Verdict};
use crate::message::Message;
use crate::operation::{Holds, Inquiry, LINGER, Operation, Origin, Put, Work};
use crate::record::{Content, Record, RecordKey};
use chinwag_base::{Key, NodeId, WallTime};

impl Dht {
    /// Looks whether the operation has what it needs.
    pub(crate) fn go_on(&mut self, number: u64) {
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
            // Whoever is late may still say what it holds; there is a second for that.
            Work::Find { .. } if !operation.may_answer() => self.resolve(number, Ok(Outcome::Traced)),
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
            && beside.has_unseen_by(&change)
        {
            // There was something that this put had not seen: a new write, whose hour is above all of theirs, takes the
            // place of what is older, and is the one that is shown.
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
        let (votes, waiting) = (operation.votes(), operation.is_waiting());
        if votes < operation.quorum {
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
        let refused = refusals.into_iter().next();
        // Whoever is only out of reach may come back; there is time.
        if let Some(why) = refused {
            self.resolve(number, Err(AskError::Refused { why }));
        }
    }

    pub(crate) fn too_late(&mut self, number: u64) {
        let Some(operation) = self.operations.open.get(&number) else { return };
        let answered = match &operation.work {
            Work::Put(_) => operation.with(|verdict| *verdict == Verdict::Stored),
            Work::Get { key: RecordKey::Cell(_), .. } => operation.votes(),
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
        if let Work::Put(put) = &mut operation.work {
            // Only the round trips of the late are still of interest.
            put.record.content = Content::Cell(Cell::new());
            self.operations.bytes -= std::mem::take(&mut operation.bytes);
        }
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
        } else {
            self.operations.answered.push_back(number);
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
            _ => {
                if let Some(key) = key {
                    self.event(Event::Irreparable { key });
                }
            }
        }
    }

    /// Nothing more is waited for. Owners that held less than what was found are sent it.
    pub(crate) fn close(&mut self, number: u64) {
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
        while self
            .operations
            .answered
            .front()
            .is_some_and(|number| !self.operations.open.contains_key(number))
        {
            self.operations.answered.pop_front();
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
pub(crate) fn merge(found: &mut Option<Record>, record: Record, wall: WallTime) {
    let Some(before) = found.take() else {
        *found = Some(record);
        return;
    };
    let joined = match (before.clone().validate(wall), record.validate(wall)) {
        (Ok(mine), Ok(theirs)) => {
            let ((mut mine, blob), (theirs, _)) = (Held::of(mine), Held::of(theirs));
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
