//! One setting as a row of facts, and the small language in which the tables are written.

/// What a value is, in Kafka's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl Kind {
    /// The number that DescribeConfigs answers for this type.
    pub const fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Upper case, as in Kafka's messages.
    pub(super) fn shout(self) -> String {
        self.name().to_ascii_uppercase()
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int => "int",
            Self::Short => "short",
            Self::Long => "long",
            Self::Double => "double",
            Self::List => "list",
            Self::Class => "class",
            Self::Password => "password",
        }
    }
}

/// The value a setting has when nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Value(&'static str),
    Null,
    Required,
}

/// What a value must satisfy beyond its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Check {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    BetweenDecimals(f64, f64),
    OneOf(&'static [&'static str]),
    /// As `OneOf`, whatever the case of the letters.
    OneOfAnyCase(&'static [&'static str]),
    /// A list whose entries come from this set (`None`: any entry), without repeats.
    Items {
        of: Option<&'static [&'static str]>,
        may_be_empty: bool,
    },
    NotEmpty,
    GzipLevel,
    /// `partition:broker,…` or `*`.
    ThrottledReplicas,
    /// `earliest`, `latest` or `by_duration:` and an ISO-8601 duration.
    ShareOffsetReset,
    /// `id@host:port` entries.
    QuorumVoters,
    /// `host:port` entries.
    HostPorts,
}

/// Whether a running node takes a new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dynamic {
    ReadOnly,
    PerBroker,
    ClusterWide,
}

/// When DescribeConfigs lists a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Always,
    WhenSet,
    /// When set, and in no document of Kafka's.
    Internal,
}

/// Whom a setting describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Node,
    Topic,
    Group,
    ClientMetrics,
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    pub start: Start,
    pub check: Check,
    pub dynamic: Dynamic,
    pub shown: Shown,
    pub doc: &'static str,
}

impl Definition {
    pub const fn new(kind: Kind, name: &'static str, start: Start) -> Self {
        Self {
            name,
            kind,
            start,
            check: Check::Any,
            dynamic: Dynamic::ReadOnly,
            shown: Shown::Always,
            doc: "",
        }
    }

    pub const fn check(self, check: Check) -> Self {
        Self { check, ..self }
    }

    pub const fn at_least(self, least: i64) -> Self {
        self.check(Check::AtLeast(least))
    }

    pub const fn between(self, least: i64, most: i64) -> Self {
        self.check(Check::Between(least, most))
    }

    pub const fn per_broker(self) -> Self {
        Self {
            dynamic: Dynamic::PerBroker,
            ..self
        }
    }

    pub const fn cluster_wide(self) -> Self {
        Self {
            dynamic: Dynamic::ClusterWide,
            ..self
        }
    }

    pub const fn internal(self) -> Self {
        Self {
            shown: Shown::Internal,
            ..self
        }
    }

    pub const fn shown_when_set(self) -> Self {
        Self {
            shown: Shown::WhenSet,
            ..self
        }
    }

    pub const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// Secrets are stored and used, never shown.
    pub const fn is_sensitive(&self) -> bool {
        matches!(self.kind, Kind::Password)
    }

    /// The default as text; `None` where the setting is null or must be set.
    pub const fn default(&self) -> Option<&'static str> {
        match self.start {
            Start::Value(text) => Some(text),
            Start::Null | Start::Required => None,
        }
    }
}

// The tables are written with these.

pub(super) const fn boolean(name: &'static str, start: &'static str) -> Definition {
    Definition::new(Kind::Boolean, name, Start::Value(start))
}

pub(super) const fn int(name: &'static str, start: &'static str) -> Definition {
    Definition::new(Kind::Int, name, Start::Value(start))
}

pub(super) const fn int_or_null(name: &'static str) -> Definition {
    Definition::new(Kind::Int, name, Start::Null)
}

pub(super) const fn long(name: &'static str, start: &'static str) -> Definition {
    Definition::new(Kind::Long, name, Start::Value(start))
}

pub(super) const fn long_or_null(name: &'static str) -> Definition {
    Definition::new(Kind::Long, name, Start::Null)
}

pub(super) const fn short(name: &'static str, start: &'static str) -> Definition {
    Definition::new(Kind::Short, name, Start::Value(start))
}

pub(super) const fn double(name: &'static str, start: &'static str) -> Definition {
    Definition::new(Kind::Double, name, Start::Value(start))
}

pub(super) const fn string(name: &'static str, start: &'static str) -> Definition {
    Definition::new(Kind::String, name, Start::Value(start))
}

pub(super) const fn string_or_null(name: &'static str) -> Definition {
    Definition::new(Kind::String, name, Start::Null)
}

pub(super) const fn list(name: &'static str, start: &'static str) -> Definition {
    Definition::new(Kind::List, name, Start::Value(start))
}

pub(super) const fn list_or_null(name: &'static str) -> Definition {
    Definition::new(Kind::List, name, Start::Null)
}

pub(super) const fn class(name: &'static str, start: &'static str) -> Definition {
    Definition::new(Kind::Class, name, Start::Value(start))
}

pub(super) const fn class_or_null(name: &'static str) -> Definition {
    Definition::new(Kind::Class, name, Start::Null)
}

pub(super) const fn password_or_null(name: &'static str) -> Definition {
    Definition::new(Kind::Password, name, Start::Null)
}

pub(super) const fn required_int(name: &'static str) -> Definition {
    Definition::new(Kind::Int, name, Start::Required)
}

pub(super) const fn required_list(name: &'static str) -> Definition {
    Definition::new(Kind::List, name, Start::Required)
}
