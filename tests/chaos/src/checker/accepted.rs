//! Guarantee 1: accepted means kept. What was promised to submitters, and that each task comes to an end.

use super::Court;
use crate::story::{Answer, Post};
use std::collections::BTreeMap;

impl<'a> Court<'a> {
    pub(super) fn accepted(&mut self) {
        let story = self.story;
        for what in &story.log.unreadable {
            self.owe(1, "", false, || format!("a record can't be read: {what}"));
        }
        let mut given: BTreeMap<&'a str, &'a Post> = BTreeMap::new();
        let mut by_key: BTreeMap<&'a str, &'a str> = BTreeMap::new();
        for post in &story.posts {
            let Answer::Accepted(id) = &post.answer else { continue };
            let durable = self.cases.get(id.as_str()).is_some_and(|case| case.record.is_some());
            self.owe(1, id, durable, || {
                format!("POST number {} was answered with 2xx, and there is no record of it on tasks", post.number)
            });
            if let Some(key) = &post.key {
                let first = *by_key.entry(key).or_insert(id);
                self.owe(1, id, first == id, || {
                    format!("the key {key} was answered with this task, and before with {first}")
                });
            } else {
                let other = given.get(id.as_str()).map(|other| other.number);
                self.owe(1, id, other.is_none(), || {
                    format!("POST number {} has no key, and was given the task of POST number {other:?}", post.number)
                });
            }
            given.insert(id, post);
        }
        self.each(|court, id, case| {
            if case.record.is_none() {
                let what = || "there are records of it, and none on tasks".to_owned();
                return court.owe(1, id, false, what);
            }
            court.owe(1, id, case.end().is_some(), || {
                let (partition, offset) = case.place.unwrap_or_default();
                let attempts = case.started().count();
                let committed = court.story.log.committed.get(&partition);
                format!(
                    "it is on tasks[{partition}]@{offset}, and at the end of the play it has no terminal update; {attempts} attempts were \
                     begun; of its partition {committed:?} is committed"
                )
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tale::Tale;
    use crate::story::Answer;
    use baton_core::record::Kind;

    #[test]
    fn an_accepted_task_that_is_not_on_the_log_is_found() {
        let mut tale = Tale::clean();
        tale.story.posts[0].answer = Answer::Accepted("lost".into());
        tale.finds(1, "there is no record of it on tasks");
    }

    #[test]
    fn a_task_without_an_end_is_found() {
        let mut tale = Tale::clean();
        tale.story.log.updates.retain(|update| update.task != "counted" || update.kind != Kind::Done);
        tale.finds(1, "it has no terminal update");
    }

    #[test]
    fn one_key_is_one_task() {
        let mut tale = Tale::clean();
        let mut again = tale.story.posts[0].clone();
        again.answer = Answer::Accepted("stopped".into());
        assert!(again.key.is_some());
        tale.story.posts.push(again);
        tale.finds(1, "and before with counted");
    }

    #[test]
    fn two_posts_without_a_key_are_two_tasks() {
        let mut tale = Tale::clean();
        let mut again = tale.story.posts[1].clone();
        assert!(again.key.is_none());
        again.number = 9;
        tale.story.posts.push(again);
        tale.finds(1, "was given the task of POST number");
    }

    #[test]
    fn records_that_can_not_be_read_and_tasks_of_nobody_are_found() {
        let mut tale = Tale::clean();
        tale.story.log.unreadable.push("tasks 0@0: nothing".into());
        tale.finds(1, "tasks 0@0");
        let mut tale = Tale::clean();
        tale.story.log.tasks.remove(0);
        tale.finds(1, "none on tasks");
    }
}
