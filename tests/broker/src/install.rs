//! Apache Kafka and the Java that runs it. It is installed once, into `.tools/` of the checkout; Maven
//! keeps copies where it keeps everything. What is half installed must never be taken for a Kafka.

use crate::error::{Error, system};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version is that of `kafka/pom.xml`.
const KAFKA: &str = "kafka-4.3.0";
const POM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/pom.xml");
const LOGGING: &str = concat!("-Dlog4j2.configurationFile=", env!("CARGO_MANIFEST_DIR"), "/kafka/log4j2.properties");
/// What Kafka 4 asks for.
const OLDEST_JAVA: u32 = 17;
/// Enough for tests, and a broker takes about 230 MB. Performance data would stay in /tmp.
const JVM: &[&str] = &["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"];

/// An installed Kafka.
#[derive(Clone, Debug)]
pub struct Kafka {
    bin: Option<PathBuf>,
    jars: PathBuf,
}

impl Kafka {
    /// Finds it, or installs it.
    pub fn find() -> Result<Self, Error> {
        let bin = std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin"));
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate is in the checkout");
        let tools = tools.join(".tools");
        let kafka = Self { bin, jars: tools.join(KAFKA) };
        kafka.check_java()?;
        if !kafka.jars.is_dir() {
            kafka.install(&tools)?;
        }
        Ok(kafka)
    }

    /// One of Java's programs.
    pub fn java_program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.as_ref().map_or_else(|| name.into(), |bin| bin.join(name)));
        command.stdin(Stdio::null());
        command
    }

    /// A main class of Kafka's.
    pub fn class(&self, name: &str) -> Command {
        let mut command = self.java_program("java");
        command.args(JVM).arg(LOGGING).arg("-cp").arg(self.jars.join("*")).arg(name);
        command
    }

    fn check_java(&self) -> Result<(), Error> {
        let missing = |missing: String| Error::Missing { missing };
        let said = self.java_program("java").arg("-version").output();
        let said = said.map_err(|error| missing(format!("java can't be run ({error})")))?;
        let text = String::from_utf8_lossy(&said.stderr);
        match java_version(&text) {
            Some(version) if version >= OLDEST_JAVA => Ok(()),
            Some(version) => {
                Err(missing(format!("java is of version {version}, and {OLDEST_JAVA} is the oldest that will do")))
            }
            None => Err(missing(format!("java does not say its version, but: {}", text.trim()))),
        }
    }

    /// Under another name until it is complete, and by one process at a time.
    fn install(&self, tools: &Path) -> Result<(), Error> {
        fs::create_dir_all(tools).map_err(system(format!("make {}", tools.display())))?;
        let lock = tools.join(format!("{KAFKA}.lock"));
        let lock = File::create(&lock).and_then(|file| file.lock().map(|()| file));
        let _lock = lock.map_err(system("wait for another installation of Kafka"))?;
        if self.jars.is_dir() {
            return Ok(());
        }
        let work = tempfile::Builder::new().prefix(KAFKA).suffix(".part").tempdir_in(tools);
        let work = work.map_err(system(format!("make a directory in {}", tools.display())))?;
        let jars = work.path().join("jars");
        eprintln!("Installing Apache Kafka into .tools/");
        let said = Command::new("mvn")
            .args(["--quiet", "--batch-mode", "--no-transfer-progress", "--file", POM, "dependency:copy-dependencies"])
            .arg(format!("-DoutputDirectory={}", jars.display()))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Error::Missing { missing: format!("Maven can't be run ({error})") })?;
        if !said.status.success() {
            let output = [said.stdout, said.stderr].concat();
            return Err(Error::Install { into: self.jars.clone(), output: last_lines(&output, 10) });
        }
        fs::rename(&jars, &self.jars).map_err(system(format!("move Kafka to {}", self.jars.display())))
    }
}

/// `openjdk version "17.0.15" 2025-04-15`: 17; a version alone may stand there, and before 9 it is `1.8`.
fn java_version(text: &str) -> Option<u32> {
    let version = text.split('"').nth(1)?;
    let mut parts = version.split(|char: char| !char.is_ascii_digit()).map_while(|part| part.parse().ok());
    match parts.next()? {
        1 => parts.next(),
        first => Some(first),
    }
}

/// The last lines of what a program said.
pub fn last_lines(output: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::{java_version, last_lines};

    #[test]
    fn versions_of_java_are_read() {
        assert_eq!(java_version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(java_version("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(java_version("openjdk version \"24-ea\" 2025-03-18"), Some(24));
        assert_eq!(java_version("java version \"1.8.0_402\""), Some(8));
        assert_eq!(java_version("no such thing"), None);
    }

    #[test]
    fn the_end_of_an_output_is_told() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines(b"", 2), "");
    }
}
