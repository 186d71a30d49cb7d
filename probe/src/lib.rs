//! Where simulations look inside: marks that say that an interesting branch was taken, and mutants, bugs on purpose that
//! the simulator must find. Without the feature `on` all of it is nothing: the shipped binary has neither.

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in tables and on the command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

names! {
    /// An interesting branch.
    Mark {
        /// A step was refused, as the claim was no longer current.
        StepFenced = "step fenced",
    }
}

names! {
    /// A bug on purpose, of a kind that real systems had.
    Mutant {
        /// The watermark is committed before the terminal update is written.
        CommitBeforeTerminal = "commit before the terminal update",
    }
}

#[cfg(feature = "on")]
mod on {
    use super::{Mark, Mutant};
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;

    thread_local! {
        static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
        static HIT: RefCell<BTreeSet<Mark>> = const { RefCell::new(BTreeSet::new()) };
    }

    /// Makes this thread's Baton wrong in this way from here on; `None` makes it right again.
    pub fn mutate(mutant: Option<Mutant>) {
        MUTANT.set(mutant);
    }

    /// The marks that this thread hit since it was last asked.
    pub fn take_marks() -> BTreeSet<Mark> {
        HIT.take()
    }

    /// An interesting branch was taken.
    pub fn hit(mark: Mark) {
        HIT.with_borrow_mut(|marks| marks.insert(mark));
    }

    /// Whether Baton is to be wrong in this way.
    pub fn is(mutant: Mutant) -> bool {
        MUTANT.get() == Some(mutant)
    }
}

#[cfg(not(feature = "on"))]
mod off {
    use super::{Mark, Mutant};

    /// An interesting branch was taken.
    #[inline(always)]
    #[allow(clippy::inline_always)] // so that nothing of it is left
    pub const fn hit(_: Mark) {}

    /// Whether Baton is to be wrong in this way: never.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub const fn is(_: Mutant) -> bool {
        false
    }
}

#[cfg(not(feature = "on"))]
pub use off::{hit, is};
#[cfg(feature = "on")]
pub use on::{hit, is, mutate, take_marks};
