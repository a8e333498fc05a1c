//! The configuration as an operator meets it: whole files in, a configuration or problems out.
//!
//! `tests/config/*.toml` are cases. A broken one says in its leading comments what must be found,
//! one line a problem, in the order of the file:
//!
//! ```text
//! # expect: <line>:<column> <part of the message>
//! ```
//!
//! All problems must be listed, so a case also fails when something else is found. A case without
//! such a line is a good one and must be accepted. Lines count from the top of the case, comments
//! included. Every case runs with the machine name `box.example.net`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use baton::config::{
    Config, ConfigError, Delivery, Durability, Host, Problem, ShardCount, Via, explain,
};

const MACHINE: &str = "box.example.net";
const EXAMPLE: &str = include_str!("../etc/baton.toml");

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_case_ends_as_it_says() {
    let (mut broken, mut good) = (0, 0);
    let mut failures = Vec::new();
    for (name, text) in cases() {
        let expected: Vec<&str> =
            text.lines().filter_map(|l| l.strip_prefix("# expect: ")).collect();
        let counter = if expected.is_empty() { &mut good } else { &mut broken };
        *counter += 1;
        let found = match Config::parse(&name, &text, MACHINE) {
            Ok(_) => Vec::new(),
            Err(problems) => problems,
        };
        let same = found.len() == expected.len()
            && found.iter().zip(&expected).all(|(problem, line)| is_expected(problem, line));
        if !same {
            let found: Vec<String> = found.iter().map(Problem::to_string).collect();
            failures.push(format!("{name}\n  expected {expected:#?}\n  found {found:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(broken >= 30 && good >= 3, "cases are missing: {broken} broken, {good} good");
}

fn cases() -> Vec<(String, String)> {
    let folder = project().join("tests/config");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry of the folder").path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("a case"))
        })
        .collect()
}

/// `line` is `<line>:<column> <part of the message>`.
fn is_expected(problem: &Problem, line: &str) -> bool {
    let (place, part) = line.split_once(' ').expect("a place and a part of the message");
    let message = match &problem.allowed {
        Some(allowed) => format!("{}; allowed: {allowed}", problem.what),
        None => problem.what.clone(),
    };
    place == format!("{}:{}", problem.line, problem.column) && message.contains(part)
}

#[test]
fn an_empty_file_is_a_configuration() {
    let config = Config::parse("empty", "", MACHINE).expect("defaults");
    assert_eq!(config.hostname, "box.example.net");
    assert_eq!(config.postmaster, "postmaster@box.example.net");
    assert_eq!(config.data_dir, Path::new("var/baton"));
    assert_eq!(config.shards, ShardCount::Auto);
    assert_eq!(config.durability, Durability::Fsync);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:2525");
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:9525");
    assert!(config.peers.is_empty() && config.accounts.is_empty() && config.routes.is_empty());
    assert_eq!(config.limits.message_bytes_max, 50 << 20);
    assert_eq!(config.delivery.expire_after, Duration::from_secs(6 * 3600));
}

#[test]
fn a_machine_without_a_usable_name_needs_one_written() {
    let rows = [("", "empty"), ("my_box", "`_`"), ("192.0.2.1", "not an address")];
    for (machine, expected) in rows {
        let problems = Config::parse("f", "", machine).expect_err(machine);
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!((problem.line, problem.column), (1, 1));
        assert!(problem.what.contains(expected), "{problem}");
        assert!(Config::parse("f", "hostname = \"relay\"", machine).is_ok(), "{machine}");
    }
}

#[test]
fn the_example_runs_as_it_is() {
    let config = Config::load(&project().join("etc/baton.toml"), MACHINE).expect("the example");
    assert_eq!(config.hostname, "relay.example.net");
    let local = config.peer("127.0.0.1".parse().expect("an address")).expect("the local peer");
    assert_eq!(local.account, "local");
    let (index, route) = config.route("inbox.test").expect("the route");
    let host = "127.0.0.1:2600".parse().expect("an address");
    assert_eq!((index, &route.via), (0, &Via::Hosts(vec![Host::Address(host)])));
}

/// The settings shown in comments are right, complete, and where they are said to be, defaults.
#[test]
fn the_example_shows_every_knob() {
    let shown: Vec<String> = EXAMPLE.lines().map(uncommented).collect();
    let text = shown.join("\n");
    let all = Config::parse("etc/baton.toml", &text, MACHINE)
        .unwrap_or_else(|problems| panic!("{}", ConfigError::Invalid(problems)));
    let defaults = Config::parse("empty", "", MACHINE).expect("defaults");
    assert_eq!(all.limits, defaults.limits);
    assert_eq!(all.memory, defaults.memory);
    assert_eq!(all.disk, defaults.disk);
    // What these show is no default: without them there is none, or a place that need not be there.
    let place = Path::new("/etc/ssl/certs/ca-certificates.crt");
    assert_eq!(all.delivery.trust_file.as_deref(), Some(place));
    assert!(all.delivery.rate.is_some() && all.delivery.delay_notice_after.is_some());
    let (rate, delay_notice_after) = (None, None);
    let (providers_file, trust_file) = (None, None);
    let delivery =
        Delivery { rate, delay_notice_after, providers_file, trust_file, ..all.delivery };
    assert_eq!(delivery, defaults.delivery);
    assert_eq!((all.log, all.filter), (defaults.log, defaults.filter));

    let explained = explain(None).expect("the explanation");
    let is_name = |line: &&str| !line.is_empty() && !line.contains([' ', '[']);
    let names: Vec<&str> = explained.lines().filter(is_name).collect();
    assert!(names.len() > 50, "{names:?}");
    for name in names {
        let key = name.rsplit('.').next().expect("a key");
        let written = format!("{key} = ");
        assert!(shown.iter().any(|line| line.starts_with(&written)), "{name} is not shown");
    }
}

/// `#key = value` is a setting that is not in force; `# text` is text.
fn uncommented(line: &str) -> String {
    match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with([' ', '#']) => setting.to_owned(),
        _ => line.to_owned(),
    }
}

#[test]
fn a_file_that_cannot_be_read_is_no_problem_of_its_content() {
    let missing = project().join("tests/config/no-such-file.toml");
    let error = Config::load(&missing, MACHINE).expect_err("no such file");
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-file.toml"), "{error}");
    let folder = Config::load(&project().join("tests"), MACHINE).expect_err("a folder");
    assert!(matches!(folder, ConfigError::Unreadable { .. }), "{folder:?}");
}

#[test]
fn a_password_hash_is_never_repeated() {
    for value in ["hunter2", "$argon2id$hunter2", "$argon2id$v=19$m=hunter2,t=1,p=1$hunter2$x"] {
        let text = format!("[[account]]\nname = \"a\"\npassword_hash = \"{value}\"\n");
        let problems = Config::parse("f", &text, MACHINE).expect_err("no hash");
        let shown = ConfigError::Invalid(problems).to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

/// Damage of any kind gives problems with places inside the text, and never a panic.
#[test]
fn damaged_files_are_refused_in_order() {
    let bytes = EXAMPLE.as_bytes();
    for cut in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        // Each position once, with a character that means something in TOML.
        damaged[cut] = b"\"[]=#\n.'{,"[cut % 10];
        let text = String::from_utf8(damaged).expect("the example is ASCII");
        let Err(problems) = Config::parse("f", &text, MACHINE) else {
            continue;
        };
        assert!(problems.is_sorted_by_key(|p| (p.line, p.column)), "position {cut}");
        let lines = text.lines().count();
        assert!(problems.iter().all(|p| p.line >= 1 && p.line <= lines + 1), "position {cut}");
        // A file that ends early, too.
        let _ = Config::parse("f", &text[..cut], MACHINE);
    }
}
