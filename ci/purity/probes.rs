// One probe a line for each thing that core/clippy.toml refuses: the path, then code that reaches for it.
// Not part of any crate: ci/purity.py compiles it inside a copy of the core, and wants each line refused by its own lint.

/* std::time::Instant */ type A1 = std::time::Instant;
/* std::time::SystemTime */ type A2 = std::time::SystemTime;
/* std::collections::HashMap */ type A3 = std::collections::HashMap<u8, u8>;
/* std::collections::HashSet */ type A4 = std::collections::HashSet<u8>;
/* std::hash::RandomState */ type A5 = std::hash::RandomState;
/* std::thread::Builder */ type A6 = std::thread::Builder;
/* std::thread::JoinHandle */ type A7 = std::thread::JoinHandle<u8>;
/* std::thread::Thread */ type A8 = std::thread::Thread;
/* std::thread::ThreadId */ type A9 = std::thread::ThreadId;
/* std::thread::LocalKey */ type A10 = std::thread::LocalKey<u8>;
/* std::sync::Barrier */ type A11 = std::sync::Barrier;
/* std::sync::Condvar */ type A12 = std::sync::Condvar;
/* std::sync::Mutex */ type A13 = std::sync::Mutex<u8>;
/* std::sync::RwLock */ type A14 = std::sync::RwLock<u8>;
/* std::sync::mpsc::Receiver */ type A15 = std::sync::mpsc::Receiver<u8>;
/* std::fs::DirBuilder */ type A16 = std::fs::DirBuilder;
/* std::fs::DirEntry */ type A17 = std::fs::DirEntry;
/* std::fs::File */ type A18 = std::fs::File;
/* std::fs::OpenOptions */ type A19 = std::fs::OpenOptions;
/* std::net::TcpListener */ type A20 = std::net::TcpListener;
/* std::net::TcpStream */ type A21 = std::net::TcpStream;
/* std::net::UdpSocket */ type A22 = std::net::UdpSocket;
/* std::net::ToSocketAddrs */ fn a23(name: impl std::net::ToSocketAddrs) {}
/* std::os::unix::net::UnixDatagram */ type A24 = std::os::unix::net::UnixDatagram;
/* std::os::unix::net::UnixListener */ type A25 = std::os::unix::net::UnixListener;
/* std::os::unix::net::UnixStream */ type A26 = std::os::unix::net::UnixStream;
/* std::process::Child */ type A27 = std::process::Child;
/* std::process::Command */ type A28 = std::process::Command;

/* std::time::Instant::now */ fn b1() { std::time::Instant::now(); }
/* std::time::Instant::elapsed */ fn b2(t: A1) { t.elapsed(); }
/* std::time::SystemTime::now */ fn b3() { std::time::SystemTime::now(); }
/* std::time::SystemTime::elapsed */ fn b4(t: A2) { t.elapsed(); }
/* std::thread::available_parallelism */ fn b5() { std::thread::available_parallelism(); }
/* std::thread::current */ fn b6() { std::thread::current(); }
/* std::thread::panicking */ fn b7() { std::thread::panicking(); }
/* std::thread::park */ fn b8() { std::thread::park(); }
/* std::thread::park_timeout */ fn b9(d: std::time::Duration) { std::thread::park_timeout(d); }
/* std::thread::scope */ fn b10() { std::thread::scope(|_| ()); }
/* std::thread::sleep */ fn b11(d: std::time::Duration) { std::thread::sleep(d); }
/* std::thread::spawn */ fn b12() { std::thread::spawn(|| ()); }
/* std::thread::yield_now */ fn b13() { std::thread::yield_now(); }
/* std::sync::mpsc::channel */ fn b14() { std::sync::mpsc::channel::<u8>(); }
/* std::sync::mpsc::sync_channel */ fn b15() { std::sync::mpsc::sync_channel::<u8>(1); }
/* std::env::args */ fn b16() { std::env::args(); }
/* std::env::args_os */ fn b17() { std::env::args_os(); }
/* std::env::current_dir */ fn b18() { std::env::current_dir(); }
/* std::env::current_exe */ fn b19() { std::env::current_exe(); }
/* std::env::home_dir */ fn b20() { std::env::home_dir(); }
/* std::env::set_current_dir */ fn b21() { std::env::set_current_dir("/"); }
/* std::env::temp_dir */ fn b22() { std::env::temp_dir(); }
/* std::env::var */ fn b23() { std::env::var("A"); }
/* std::env::var_os */ fn b24() { std::env::var_os("A"); }
/* std::env::vars */ fn b25() { std::env::vars(); }
/* std::env::vars_os */ fn b26() { std::env::vars_os(); }
/* std::fs::canonicalize */ fn b27() { std::fs::canonicalize("a"); }
/* std::fs::copy */ fn b28() { std::fs::copy("a", "b"); }
/* std::fs::create_dir */ fn b29() { std::fs::create_dir("a"); }
/* std::fs::create_dir_all */ fn b30() { std::fs::create_dir_all("a"); }
/* std::fs::exists */ fn b31() { std::fs::exists("a"); }
/* std::fs::hard_link */ fn b32() { std::fs::hard_link("a", "b"); }
/* std::fs::metadata */ fn b33() { std::fs::metadata("a"); }
/* std::fs::read */ fn b34() { std::fs::read("a"); }
/* std::fs::read_dir */ fn b35() { std::fs::read_dir("a"); }
/* std::fs::read_link */ fn b36() { std::fs::read_link("a"); }
/* std::fs::read_to_string */ fn b37() { std::fs::read_to_string("a"); }
/* std::fs::remove_dir */ fn b38() { std::fs::remove_dir("a"); }
/* std::fs::remove_dir_all */ fn b39() { std::fs::remove_dir_all("a"); }
/* std::fs::remove_file */ fn b40() { std::fs::remove_file("a"); }
/* std::fs::rename */ fn b41() { std::fs::rename("a", "b"); }
/* std::fs::set_permissions */ fn b42(p: std::fs::Permissions) { std::fs::set_permissions("a", p); }
/* std::fs::symlink_metadata */ fn b43() { std::fs::symlink_metadata("a"); }
/* std::fs::write */ fn b44() { std::fs::write("a", "b"); }
/* std::os::unix::fs::symlink */ fn b45() { std::os::unix::fs::symlink("a", "b"); }
/* std::path::Path::canonicalize */ fn b46(p: &std::path::Path) { p.canonicalize(); }
/* std::path::Path::exists */ fn b47(p: &std::path::Path) { p.exists(); }
/* std::path::Path::is_dir */ fn b48(p: &std::path::Path) { p.is_dir(); }
/* std::path::Path::is_file */ fn b49(p: &std::path::Path) { p.is_file(); }
/* std::path::Path::is_symlink */ fn b50(p: &std::path::Path) { p.is_symlink(); }
/* std::path::Path::metadata */ fn b51(p: &std::path::Path) { p.metadata(); }
/* std::path::Path::read_dir */ fn b52(p: &std::path::Path) { p.read_dir(); }
/* std::path::Path::read_link */ fn b53(p: &std::path::Path) { p.read_link(); }
/* std::path::Path::symlink_metadata */ fn b54(p: &std::path::Path) { p.symlink_metadata(); }
/* std::path::Path::try_exists */ fn b55(p: &std::path::Path) { p.try_exists(); }
/* std::io::stderr */ fn b56() { std::io::stderr(); }
/* std::io::stdin */ fn b57() { std::io::stdin(); }
/* std::io::stdout */ fn b58() { std::io::stdout(); }
/* std::process::abort */ fn b59() { std::process::abort(); }
/* std::process::exit */ fn b60() { std::process::exit(1); }
/* std::process::id */ fn b61() { std::process::id(); }

/* std::dbg */ fn c1() { std::dbg!(1); }
/* std::eprint */ fn c2() { std::eprint!("a"); }
/* std::eprintln */ fn c3() { std::eprintln!("a"); }
/* std::print */ fn c4() { std::print!("a"); }
/* std::println */ fn c5() { println!("a"); }
/* std::thread_local */ thread_local! { static C6: u8 = 1; }
