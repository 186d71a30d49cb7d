//! What the processes of a run may take, and as whom and where they run, as the kernel keeps it.
#![allow(clippy::unwrap_used)]

mod site;

use baton_agent::{Cgroups, Isolation};
use baton_core::launch::{Launch, Pty, Umask};
use baton_core::limits::Limits;
use baton_core::process::{ExitStatus, Signal, Spawn};
use baton_core::quantity::{Size, Time};
use baton_runtime::ports::{Agents as _, Process as _};
use site::{Site, WELL, hear, misbehave, spawn, until_ready};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

fn script(text: &str) -> Spawn {
    Spawn { argv: vec!["sh".into(), "-c".into(), text.into()], ..spawn("") }
}

fn is_root() -> bool {
    // The owner of what is known of this process.
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[tokio::test]
async fn limits_are_what_the_table_says() {
    for site in Site::each() {
        let limits = Limits {
            memory: Some(Size(256 << 20)),
            cpu_time: Some(Time(Duration::from_secs(30))),
            open_files: Some(64),
            processes: Some(500),
            file_size: Some(Size(1 << 20)),
            core_dumps: false,
        };
        let order = Spawn { limits, ..script("ulimit -Sa; ulimit -Ht; ulimit -Hn") };
        let (heard, exit) = hear(&mut site.agents.spawn(order).await.unwrap()).await;
        assert_eq!(exit.status, WELL, "{heard:?}");
        let has = |name: &str, value: &str| {
            let line = heard.out.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            assert_eq!(line.split_whitespace().last(), Some(value), "{name}: {heard:?}");
        };
        has("time", "30");
        has("coredump", "0");
        has("nofiles", "64");
        has("file", "2048");
        if !matches!(site.agents.means().cgroups, Cgroups::There { memory: true, .. }) {
            has("data", "262144");
        }
        if !matches!(site.agents.means().cgroups, Cgroups::There { pids: true, .. }) {
            has("process", "500");
        }
        assert!(heard.out.ends_with("35\n64\n"), "{heard:?}");
        site.assert_nothing_left();
    }
}

#[tokio::test]
async fn what_goes_beyond_its_limits_is_ended_or_refused() {
    for site in Site::each() {
        let cpu = Limits { cpu_time: Some(Time(Duration::from_secs(1))), ..Limits::default() };
        let order = Spawn { limits: cpu, argv: misbehave("burn").split(' ').map(str::to_owned).collect(), ..spawn("") };
        let (_, exit) = hear(&mut site.agents.spawn(order).await.unwrap()).await;
        assert_eq!(exit.status.to_string(), "killed by signal 24 (SIGXCPU)");
        // The kernel limits what its ticks find running, and tells what ran: on a busy machine that is less.
        assert!(exit.usage.unwrap().cpu >= Duration::from_millis(500), "{exit:?}");

        let memory = Limits { memory: Some(Size(64 << 20)), ..Limits::default() };
        let order =
            Spawn { limits: memory, argv: misbehave("hog").split(' ').map(str::to_owned).collect(), ..spawn("") };
        let (heard, exit) = hear(&mut site.agents.spawn(order).await.unwrap()).await;
        match site.agents.means().cgroups {
            Cgroups::There { memory: true, .. } => assert!(exit.out_of_memory, "{exit:?}"),
            _ => assert!(exit.status == ExitStatus::Code(1) && heard.err.contains("MemoryError"), "{exit:?} {heard:?}"),
        }

        let file = Limits { file_size: Some(Size(4096)), ..Limits::default() };
        let order = Spawn { limits: file, ..script("head -c 10000 /dev/zero > $TMPDIR/x; echo $?") };
        let (heard, _) = hear(&mut site.agents.spawn(order).await.unwrap()).await;
        assert!(!heard.out.starts_with('0'), "{heard:?}");
        site.assert_nothing_left();
    }
}

#[tokio::test]
async fn what_a_run_used_is_told() {
    for site in Site::each() {
        let order = Spawn { argv: misbehave("grow --lines 64").split(' ').map(str::to_owned).collect(), ..spawn("") };
        let (_, exit) = hear(&mut site.agents.spawn(order).await.unwrap()).await;
        let usage = exit.usage.unwrap();
        // Its child had them, and was gone before it.
        assert!((64 << 20..256 << 20).contains(&usage.peak_memory), "{usage:?}");
        assert!(usage.cpu > Duration::ZERO && !exit.out_of_memory, "{exit:?}");
    }
}

#[tokio::test]
async fn a_run_starts_where_and_as_it_is_told() {
    for site in Site::each() {
        let launch =
            Launch { directory: Some("/usr".into()), nice: Some(5), umask: Some(Umask(0o027)), ..Launch::default() };
        let order = Spawn { launch, ..script("pwd; nice; umask") };
        let (heard, exit) = hear(&mut site.agents.spawn(order).await.unwrap()).await;
        assert_eq!((heard.out.as_str(), exit.status), ("/usr\n5\n0027\n", WELL));
        let launch = Launch { directory: Some("/no/such/place".into()), ..Launch::default() };
        let why = site.agents.spawn(Spawn { launch, ..script("true") }).await.err().unwrap();
        assert_eq!(why, "could not start in /no/such/place: No such file or directory (os error 2)");
        let limits = Limits { open_files: Some(u64::MAX / 2), ..Limits::default() };
        let why = site.agents.spawn(Spawn { limits, ..script("true") }).await.err().unwrap();
        assert!(why.starts_with("could not set limits.open_files to "), "{why}");
        site.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_run_is_of_the_user_that_its_type_names() {
    for site in Site::each() {
        let launch = |user: &str| Launch { user: Some(user.into()), ..Launch::default() };
        let of = |user: &str, text: &str| Spawn { launch: launch(user), ..script(text) };
        let why = site.agents.spawn(of("no-such-user", "true")).await.err().unwrap();
        assert_eq!(why, "there is no user \"no-such-user\" on this worker");
        if !is_root() {
            let why = site.agents.spawn(of("nobody", "true")).await.err().unwrap();
            assert_eq!(why, "could not run as \"nobody\": only a worker that is root can");
            continue;
        }
        fs::set_permissions(site.dir.path(), Permissions::from_mode(0o700)).unwrap();
        let why = site.agents.spawn(of("nobody", "true")).await.err().unwrap();
        assert!(why.starts_with("the user \"nobody\" can't reach the run's own files: Permission denied"), "{why}");
        fs::set_permissions(site.dir.path(), Permissions::from_mode(0o711)).unwrap();
        let text = "id -un; echo $USER $HOME; cat $BATON_PROJECT_FILE; echo; touch $TMPDIR/mine && echo made; id -Gn";
        let (heard, exit) = hear(&mut site.agents.spawn(of("nobody", text)).await.unwrap()).await;
        let expected = "nobody\nnobody /nonexistent\n{\"db_conn\":\"x\"}\nmade\nnogroup\n";
        assert_eq!((heard.out.as_str(), exit.status), (expected, WELL), "{heard:?}");
        let mut stays = site.agents.spawn(of("nobody", "setsid sh -c 'echo ready; sleep 60' & wait")).await.unwrap();
        until_ready(&mut stays).await;
        stays.signal(Signal::Kill);
        assert!(hear(&mut stays).await.1.survivors_killed);
        site.assert_nothing_left();
    }
}

#[tokio::test]
#[allow(unsafe_code)]
async fn a_run_ignores_no_signal_that_its_worker_was_made_to_ignore() {
    // As whatever a shell starts in the background does, the worker ignores SIGINT; so would all that it starts.
    // SAFETY: it sets no handler.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    let site = Site::new(Isolation::Auto);
    let (heard, _) = hear(&mut site.agents.spawn(script("grep SigIgn /proc/self/status")).await.unwrap()).await;
    let mask = u64::from_str_radix(heard.out.trim_start_matches("SigIgn:").trim(), 16).unwrap();
    // Those above are the C library's own.
    assert_eq!(mask & 0x7fff_ffff, 0, "{heard:?}");
}

#[tokio::test]
async fn text_is_fed_to_standard_input() {
    for site in Site::each() {
        let text = "line one\nline two, of a long text\n".repeat(10_000);
        let order = Spawn { stdin: Some(text.clone()), argv: vec!["cat".into()], ..spawn("") };
        let (heard, exit) = hear(&mut site.agents.spawn(order).await.unwrap()).await;
        assert_eq!((heard.out == text, exit.status), (true, WELL));
        let (heard, _) = hear(&mut site.agents.spawn(script("cat | wc -c")).await.unwrap()).await;
        assert_eq!(heard.out.trim(), "0", "without a text it is closed");
    }
}

#[tokio::test]
async fn a_terminal_has_its_size_and_takes_everything_with_it() {
    for site in Site::each() {
        let launch = Launch { pty: Some(Pty { columns: 99, rows: 33 }), ..Launch::default() };
        let of = |arguments: &str| Spawn {
            launch: launch.clone(),
            argv: misbehave(arguments).split(' ').map(str::to_owned).collect(),
            ..spawn("")
        };
        let (heard, exit) = hear(&mut site.agents.spawn(of("terminal")).await.unwrap()).await;
        assert_eq!(heard.out, "out True err True in False size 99x33 term xterm-256color controls True\nto stderr\n");
        assert_eq!(exit.status, WELL);

        // Whatever holds the terminal open does not hold up the end.
        for mode in ["child", "detached", "daemon"] {
            let (_, exit) = hear(&mut site.agents.spawn(of(mode)).await.unwrap()).await;
            // The kernel itself ends who is still in the terminal's session.
            assert!(exit.survivors_killed || mode == "child", "{mode}");
            site.assert_nothing_left();
        }
        let (heard, exit) = hear(&mut site.agents.spawn(of("lines --lines 20000 --text abc")).await.unwrap()).await;
        assert_eq!((heard.out.lines().count(), exit.status), (20_000, WELL), "not a byte is lost at the end");
        let mut stubborn = site.agents.spawn(of("stubborn")).await.unwrap();
        until_ready(&mut stubborn).await;
        stubborn.signal(Signal::Kill);
        assert_eq!(hear(&mut stubborn).await.1.status, ExitStatus::Signal(9));
        let mut dropped = site.agents.spawn(of("daemon --stay")).await.unwrap();
        until_ready(&mut dropped).await;
        drop(dropped);
        site.until_nothing_left().await;
    }
}
