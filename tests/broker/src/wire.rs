//! The few calls of Kafka's protocol that the fixture needs itself, in versions without tagged fields: who is there, and who
//! may do what. Everything else is for real clients.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A broker that lives answers long before.
const PATIENCE: Duration = Duration::from_secs(10);
/// No answer here is longer.
const LONGEST: usize = 1 << 20;

const METADATA: (i16, i16) = (3, 4);
const DESCRIBE_ACLS: (i16, i16) = (29, 1);
const CREATE_ACLS: (i16, i16) = (30, 1);

const PREFIXED: u8 = 4;
const LITERAL: u8 = 3;
const ALLOW: u8 = 3;

/// What a user may be allowed to use.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// All topics whose names begin so.
    Topics(&'a str),
    /// All groups whose names begin so.
    Groups(&'a str),
    /// All transactional ids that begin so.
    TransactionalIds(&'a str),
    /// The cluster itself.
    Cluster,
}

impl Resource<'_> {
    /// Its type, its name, and what the name is.
    fn parts(&self) -> (u8, &str, u8) {
        match self {
            Self::Topics(prefix) => (2, prefix, PREFIXED),
            Self::Groups(prefix) => (3, prefix, PREFIXED),
            Self::TransactionalIds(prefix) => (5, prefix, PREFIXED),
            Self::Cluster => (4, "kafka-cluster", LITERAL),
        }
    }
}

/// What a user may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Everything.
    All = 2,
    /// Read records; be in a group.
    Read = 3,
    /// Write records; use a transactional id.
    Write = 4,
    /// Make topics.
    Create = 5,
    /// Delete topics.
    Delete = 6,
    /// Change topics.
    Alter = 7,
    /// See that it is there.
    Describe = 8,
    /// See its configuration.
    DescribeConfigs = 10,
    /// Change its configuration.
    AlterConfigs = 11,
}

/// The numbers of the brokers that this one knows to be alive.
pub fn live_brokers(address: SocketAddr) -> io::Result<Vec<i32>> {
    // An empty list of topics, and none is to be made.
    let answer = call(address, METADATA, &[0, 0, 0, 0, 0])?;
    let mut answer = Answer { rest: &answer };
    answer.int32()?; // throttled for
    let count = answer.int32()?;
    (0..count)
        .map(|_| {
            let id = answer.int32()?;
            answer.string()?; // host
            answer.int32()?; // port
            answer.string()?; // rack
            Ok(id)
        })
        .collect()
}

/// Allows it. The inner error is the broker's.
pub fn allow(address: SocketAddr, user: &str, on: Resource, operation: Operation) -> io::Result<Result<(), String>> {
    let mut body = vec![0, 0, 0, 1];
    acl(&mut body, user, on, operation);
    let answer = call(address, CREATE_ACLS, &body)?;
    let mut answer = Answer { rest: &answer };
    answer.int32()?; // throttled for
    answer.int32()?; // one result
    answer.outcome()
}

/// Whether this broker knows that it is allowed.
pub fn is_allowed(address: SocketAddr, user: &str, on: Resource, operation: Operation) -> io::Result<bool> {
    let mut body = Vec::new();
    acl(&mut body, user, on, operation);
    let answer = call(address, DESCRIBE_ACLS, &body)?;
    let mut answer = Answer { rest: &answer };
    answer.int32()?; // throttled for
    Ok(answer.outcome()?.is_ok() && answer.int32()? > 0)
}

/// The same shape makes one, and asks for one.
fn acl(body: &mut Vec<u8>, user: &str, on: Resource, operation: Operation) {
    let (kind, name, pattern) = on.parts();
    body.push(kind);
    string(body, name);
    body.push(pattern);
    string(body, &format!("User:{user}"));
    string(body, "*");
    body.extend([operation as u8, ALLOW]);
}

fn string(body: &mut Vec<u8>, text: &str) {
    body.extend(i16::try_from(text.len()).expect("names are short").to_be_bytes());
    body.extend(text.as_bytes());
}

/// One request on a connection of its own, and what came back after its header.
fn call(address: SocketAddr, (key, version): (i16, i16), body: &[u8]) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(0i32.to_be_bytes()); // correlates nothing: there is one request
    string(&mut request, "baton-broker");
    request.extend(body);
    let length = i32::try_from(request.len()).expect("requests are short").to_be_bytes();

    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[&length, request.as_slice()].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).ok().filter(|length| (4..LONGEST).contains(length));
    let mut answer = vec![0; length.ok_or_else(no_answer)?];
    stream.read_exact(&mut answer)?;
    Ok(answer.split_off(4)) // the correlation
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what came back is no answer of Kafka's")
}

/// What is left to be read of an answer.
struct Answer<'a> {
    rest: &'a [u8],
}

impl<'a> Answer<'a> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(no_answer)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn int16(&mut self) -> io::Result<i16> {
        self.bytes().map(i16::from_be_bytes)
    }

    fn int32(&mut self) -> io::Result<i32> {
        self.bytes().map(i32::from_be_bytes)
    }

    /// A string, which may be null.
    fn string(&mut self) -> io::Result<Option<&'a str>> {
        let Ok(length) = usize::try_from(self.int16()?) else { return Ok(None) };
        let (text, rest) = self.rest.split_at_checked(length).ok_or_else(no_answer)?;
        self.rest = rest;
        std::str::from_utf8(text).map(Some).map_err(|_| no_answer())
    }

    /// An error's number and words; number 0 is none.
    fn outcome(&mut self) -> io::Result<Result<(), String>> {
        let code = self.int16()?;
        let words = self.string()?.unwrap_or("no words");
        Ok(if code == 0 { Ok(()) } else { Err(format!("error {code}, {words}")) })
    }
}
