//! Guarantee 9: bounded; and what nobody meant to happen.

use super::Court;

impl Court<'_> {
    pub(super) fn bounds(&mut self) {
        let story = self.story;
        for peak in &story.peaks {
            let limit = if peak.is_api { story.limits.api_memory } else { story.limits.worker_memory };
            self.owe(9, "", peak.kib <= limit, || {
                format!("{} took {} KiB, and {limit} are its limit", peak.name, peak.kib)
            });
        }
        self.verdict.checked[0] += 1;
        for what in &story.surprises {
            self.owe(0, "", false, || what.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tale::Tale;

    #[test]
    fn a_process_that_takes_too_much_is_found() {
        let mut tale = Tale::clean();
        tale.story.limits.api_memory = 99;
        tale.finds(9, "api-0 took 100 KiB");
        let mut tale = Tale::clean();
        tale.story.limits.worker_memory = 99;
        tale.finds(9, "anna took 100 KiB");
    }

    #[test]
    fn surprises_are_told() {
        let mut tale = Tale::clean();
        tale.story.surprises.push("anna ended by itself".into());
        tale.finds(0, "anna ended by itself");
    }
}
