//! Certificates made on the spot by Java's own tool, so that nothing more needs to be there than Java.

use crate::error::{Error, system};
use crate::install::{Kafka, last_lines};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Of every store here. They live as long as a test.
pub const PASSWORD: &str = "of-a-test-only";

/// The broker's key and certificate, and who vouches for it.
#[derive(Debug)]
pub struct Certificates {
    /// The broker's own, PKCS #12.
    pub store: PathBuf,
    /// The authority that signed it, PEM.
    pub ca: PathBuf,
    /// Another authority, which signed nothing, PEM.
    pub other_ca: PathBuf,
}

impl Certificates {
    /// Makes them in `dir`, for brokers at this address.
    pub fn make(kafka: &Kafka, dir: &Path, ip: Ipv4Addr) -> Result<Self, Error> {
        let store = dir.join("broker.p12");
        let other_store = dir.join("other.p12");
        let made = Self { store, ca: dir.join("ca.pem"), other_ca: dir.join("other-ca.pem") };
        authority(kafka, &made.store, &made.ca)?;
        authority(kafka, &other_store, &made.other_ca)?;
        let name = format!("SAN=IP:{ip}");
        let signed = ["-alias", "broker", "-dname", "CN=broker", "-signer", "ca", "-ext", &name];
        keytool(kafka, &made.store, "-genkeypair", &[&signed[..], KEY].concat())?;
        Ok(made)
    }
}

const KEY: &[&str] = &["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2"];

/// A new authority in a store, and its certificate as PEM.
fn authority(kafka: &Kafka, store: &Path, pem: &Path) -> Result<(), Error> {
    keytool(kafka, store, "-genkeypair", &[&["-alias", "ca", "-dname", "CN=ca", "-ext", "BC:c"], KEY].concat())?;
    let path = pem.to_str().expect("temporary directories have names of Unicode");
    keytool(kafka, store, "-exportcert", &["-rfc", "-alias", "ca", "-file", path])
}

fn keytool(kafka: &Kafka, store: &Path, what: &str, arguments: &[&str]) -> Result<(), Error> {
    let mut command = kafka.java_program("keytool");
    command.arg(what).arg("-keystore").arg(store).args(["-storetype", "PKCS12", "-storepass", PASSWORD]);
    let said = command.args(arguments).output().map_err(system("run keytool"))?;
    if said.status.success() {
        return Ok(());
    }
    Err(Error::Program { program: "keytool", output: last_lines(&[said.stdout, said.stderr].concat(), 10) })
}
