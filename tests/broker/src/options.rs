//! What a cluster is to be like.

/// What a cluster is to be like. Begin with [`Options::one`] or [`Options::three`].
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) nodes: u8,
    pub(crate) users: Vec<User>,
    pub(crate) properties: Vec<(String, String)>,
}

impl Options {
    /// One node, everything with one replica.
    pub fn one() -> Self {
        Self { nodes: 1, users: Vec::new(), properties: Vec::new() }
    }

    /// Three nodes, everything with three replicas of which two must be in sync.
    pub fn three() -> Self {
        Self { nodes: 3, ..Self::one() }
    }

    /// Clients must log in as one of these users: `SASL_SSL` with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; or, without a password, with
    /// OAUTHBEARER and a JWT that nobody signed (`alg` is `none`), whose `sub` is the user. A user may do what
    /// [`allow`](crate::Cluster::allow) gave it, and nothing else. Without users there is neither TLS nor any check.
    #[must_use]
    pub fn users(mut self, users: impl IntoIterator<Item = User>) -> Self {
        self.users = users.into_iter().collect();
        self
    }

    /// Sets a property of every broker. It wins over those of the fixture.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }
}

/// Someone who may log in. Names and passwords are of letters, digits, `-` and `_`, as nothing here quotes them.
#[derive(Clone, Debug)]
pub struct User {
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) is_super: bool,
}

impl User {
    /// A user that may do nothing yet.
    pub fn new(name: &str, password: &str) -> Self {
        for word in [name, password] {
            let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            assert!(plain && !word.is_empty(), "{word:?} is not of letters, digits, - and _");
        }
        Self { name: name.to_owned(), password: password.to_owned(), is_super: false }
    }

    /// This user may do everything.
    #[must_use]
    pub fn superuser(self) -> Self {
        Self { is_super: true, ..self }
    }
}
