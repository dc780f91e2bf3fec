//! What the loop does with the fetch queue: takes records, moves fetchers, finds out why nothing comes.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::topic_partition_list::Offset;
use sluice_crds::condition::Reason;

use super::{ReadLoop, WAIT};
use crate::source::SourceEvent;
use crate::source::context::lock;
use crate::source::error::{Meaning, SourceError, describe, meaning};
use crate::source::fetch::{Event, Flow};
use crate::source::topic::list_offsets;

/// The longest that a question to the brokers may hold up the loop.
const QUESTION: Duration = Duration::from_secs(1);

/// An error that the fetch queue showed.
struct Noted {
    partition: i32,
    offset: i64,
    code: Code,
    text: String,
    /// The position at which the partition was halted for it.
    halted: Option<i64>,
}

impl ReadLoop {
    /// Takes all that is there. To leave a rest would be no thrift: during the call the queue is empty for librdkafka, which
    /// then fetches; with a rest put back each time, a slow worker would have the whole topic in memory.
    pub(super) fn take(&mut self) {
        let wait = self.assembly.deadline().map_or(WAIT, |at| at.saturating_duration_since(Instant::now()).min(WAIT));
        let (assembly, context) = (&mut self.assembly, self.consumer.context());
        let mut noted: Vec<Noted> = Vec::new();
        let mut now = None;
        let taken = self.queue.poll(wait, |event| {
            match event {
                Event::Message(message) => assembly.accept(message, *now.get_or_insert_with(Instant::now)),
                Event::Eof { partition, offset } => {
                    if let Some(end) = lock(&context.ends).get_mut(&partition) {
                        *end = offset.max(*end);
                    }
                    assembly.end(partition, offset);
                }
                Event::Error { partition, offset, code, text } => {
                    // Before the next record is looked at: librdkafka goes on behind what it could not read.
                    let stops = matches!(meaning(code), Meaning::OutOfRange | Meaning::Unreadable);
                    let halted = if stops { assembly.halt(partition) } else { None };
                    noted.push(Noted { partition, offset, code, text, halted });
                    return Flow::Stop;
                }
            }
            Flow::Continue
        });
        if taken == 0 {
            // A partition whose fetcher was just stopped may have lost its way to the queue.
            for partition in self.assembly.unheard() {
                self.queue.forward(partition);
            }
        } else if noted.is_empty() {
            self.consumer.context().trouble.clear();
        }
        for error in noted {
            self.fetch_failed(&error);
        }
    }

    fn fetch_failed(&mut self, error: &Noted) {
        let Noted { partition, offset, code, .. } = *error;
        match (meaning(code), error.halted) {
            (Meaning::OutOfRange, Some(_)) => {
                self.out_of_range.insert(partition);
                self.again = Instant::now();
            }
            (Meaning::Unreadable, Some(position)) => {
                let topic = self.subject.topic.clone();
                // librdkafka names the start of the block that it could not read, which may lie before the position.
                let offset = offset.max(position);
                let problem = error.text.clone();
                self.tell(SourceEvent::Failed(SourceError::Unreadable { topic, partition, offset, problem }));
            }
            (Meaning::OutOfRange | Meaning::Unreadable, None) => {}
            (Meaning::Passing, _) => {
                self.consumer.context().trouble.note(Reason::SourceUnavailable, &error.text);
                tracing::debug!(topic = self.subject.topic, partition, code = %code, "{}", error.text);
            }
            _ => self.failed(partition, code, &error.text),
        }
    }

    pub(super) fn failed(&mut self, partition: i32, code: Code, text: &str) {
        if self.told.insert((partition, code as i32)) {
            let error = match meaning(code) {
                Meaning::Passing => SourceError::Fatal { topic: self.subject.topic.clone(), problem: text.to_owned() },
                _ => self.subject.error(code, text, "reading", None),
            };
            self.tell(SourceEvent::Failed(error));
        }
    }

    /// Sets fetchers to the positions that were set. What they fetched before is outdated for librdkafka from then on.
    pub(super) fn move_fetchers(&mut self) {
        let moving = self.assembly.moving();
        if moving.is_empty() || Instant::now() < self.again {
            return;
        }
        self.again = Instant::now() + WAIT;
        let paused: Vec<i32> =
            moving.iter().map(|(partition, _)| *partition).filter(|partition| self.paused.remove(partition)).collect();
        self.resume(&paused);
        let answer = match self.list(&moving).and_then(|list| self.consumer.seek_partitions(list, QUESTION)) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(topic = self.subject.topic, %error, "moving fetchers; tried again");
                return;
            }
        };
        for element in answer.elements() {
            let partition = element.partition();
            match element.error() {
                Ok(()) => self.assembly.moved(partition),
                Err(error) if error.rdkafka_error_code() == Some(Code::PreviousInProgress) => {}
                Err(_) => self.restart_fetcher(partition),
            }
        }
    }

    /// Starts the fetcher of a partition again. It ends when its position is out of range, and then cannot be moved.
    fn restart_fetcher(&mut self, partition: i32) {
        let Some(position) = self.assembly.position(partition) else { return };
        // While the group waits for an answer, this would be taken for it.
        if self.offered.is_some() || self.revoking.is_some() {
            return;
        }
        let answer = self.list(&[(partition, position)]).and_then(|list| {
            self.consumer.incremental_unassign(&list)?;
            self.queue.forward(partition);
            self.consumer.incremental_assign(&list)
        });
        if answer.is_ok() {
            self.assembly.moved(partition);
        }
        self.check(answer, "starting a fetcher again");
    }

    /// Asks which offsets there are, for partitions whose position seems to be none of them.
    pub(super) fn find_ranges(&mut self) {
        if self.out_of_range.is_empty() || Instant::now() < self.again {
            return;
        }
        let partitions: Vec<i32> = self.out_of_range.iter().copied().collect();
        let ask = |wanted| list_offsets(&self.consumer, &self.subject.topic, &partitions, wanted, QUESTION);
        let (beginnings, ends) = match ask(Offset::Beginning).and_then(|beginnings| Ok((beginnings, ask(Offset::End)?)))
        {
            Ok(answers) => answers,
            Err(error) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                if meaning(code) == Meaning::UnknownTopic {
                    self.failed(-1, code, &describe(&error));
                }
                self.again = Instant::now() + QUESTION;
                return;
            }
        };
        self.again = Instant::now() + WAIT;
        for partition in std::mem::take(&mut self.out_of_range) {
            let range = (beginnings.get(&partition), ends.get(&partition), self.assembly.position(partition));
            let (Some(&beginning), Some(&end), Some(position)) = range else { continue };
            if (beginning..=end).contains(&position) {
                // It is there after all: the broker had lost the place, or the error was about an earlier position.
                self.assembly.refetch(partition);
                continue;
            }
            let topic = self.subject.topic.clone();
            self.tell(SourceEvent::Failed(SourceError::OutOfRange { topic, partition, position, beginning, end }));
        }
    }
}
