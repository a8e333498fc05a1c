//! [`Reloaded`]: what a changed file changes in a relay that runs.
//!
//! Decides, knob by knob and by the rule of its declaration, whether the new value is used or the
//! running one stays until a restart; which knobs differ; and whether the two halves go together.
//! Tables that can be written many times (peers, routes and so on) are taken or left as a whole.
//! Never reads the file and never tells anybody: see `runtime`.

use super::check::oversize;
use super::check_egress::contradiction;
use super::knob::{Declared, Knob, Reload, Section};
use super::problem::ConfigError;
use super::settings::Config;
use super::tables::Tables;

/// What to go on with after the file was read again.
#[derive(Clone, Debug, PartialEq)]
pub struct Reloaded {
    /// The running configuration with every new value that can be used now.
    pub config: Config,
    /// Names of the knobs whose new values are used now; a table's name when it is written more
    /// or less often than before.
    pub changed: Vec<String>,
    /// Names of those whose values in the file need a restart.
    pub waiting: Vec<String>,
}

impl Config {
    /// What a relay that runs with `self` goes on with when its file has become `new`.
    ///
    /// # Errors
    /// [`ConfigError::NeedsRestart`] when a new value does not go with one that stays.
    pub fn reloaded(&self, new: Config) -> Result<Reloaded, ConfigError> {
        let mut changes = Changes::default();
        let tables = changes.tables(&self.tables, new.tables);
        let words = oversize(&tables.limits, &tables.memory)
            .or_else(|| contradiction(&tables.delivery, &tables.routes));
        if let Some(words) = words {
            return Err(ConfigError::NeedsRestart { words });
        }
        // The name of the machine, where none is written, is the one that was asked for at start.
        let hostname = tables.top.hostname.clone().unwrap_or_else(|| self.hostname.clone());
        let Changes { changed, waiting } = changes;
        Ok(Reloaded { config: tables.resolve(hostname), changed, waiting })
    }
}

#[derive(Default)]
struct Changes {
    changed: Vec<String>,
    waiting: Vec<String>,
}

impl Changes {
    fn tables(&mut self, running: &Tables, new: Tables) -> Tables {
        Tables {
            top: self.one(&running.top, new.top),
            listeners: self.many(&running.listeners, new.listeners),
            peers: self.many(&running.peers, new.peers),
            accounts: self.many(&running.accounts, new.accounts),
            sources: self.many(&running.sources, new.sources),
            routes: self.many(&running.routes, new.routes),
            providers: self.many(&running.providers, new.providers),
            dns: self.one(&running.dns, new.dns),
            admin: self.one(&running.admin, new.admin),
            log: self.one(&running.log, new.log),
            limits: self.one(&running.limits, new.limits),
            memory: self.one(&running.memory, new.memory),
            disk: self.one(&running.disk, new.disk),
            delivery: self.one(&running.delivery, new.delivery),
            filter: self.one(&running.filter, new.filter),
        }
    }

    fn one<S: Declared>(&mut self, running: &S, new: S) -> S {
        self.note_knobs(S::SECTION, &running.differences(&new));
        running.reloaded(new)
    }

    fn many<S: Declared + Clone>(&mut self, running: &Vec<S>, new: Vec<S>) -> Vec<S> {
        let section = S::SECTION;
        if running.len() == new.len() {
            let mut differences = vec![false; section.knobs.len()];
            for (running, new) in running.iter().zip(&new) {
                let found = running.differences(new);
                differences.iter_mut().zip(found).for_each(|(all, one)| *all |= one);
            }
            self.note_knobs(section, &differences);
        } else {
            self.note(section.reload(), section.name.to_owned());
        }
        section.reload().choose(running, new)
    }

    fn note_knobs(&mut self, section: &Section, differences: &[bool]) {
        let knobs = section.knobs.iter().zip(differences).filter(|(_, differs)| **differs);
        knobs.for_each(|(knob, _): (&Knob, _)| self.note(knob.reload, section.full_name(knob)));
    }

    fn note(&mut self, reload: Reload, name: String) {
        match reload {
            Reload::Applies => self.changed.push(name),
            Reload::Restart => self.waiting.push(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::knob::Shape;
    use super::super::settings::SECTIONS;
    use super::*;

    fn parse(text: &str) -> Config {
        Config::parse("test", text, "box").unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    /// The running file, the new one, what is used now, what waits.
    type Row = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

    #[test]
    fn differences_have_the_names_and_rules_of_their_knobs() {
        const PEER: &str = "[[peer]]\nnetwork = \"192.0.2.1\"\naccount = \"a\"\n";
        const OTHER: &str = "[[peer]]\nnetwork = \"192.0.2.1\"\naccount = \"b\"\nproxy = true\n";
        const ROUTE: &str = "[[route]]\ndomain = \"*\"\nvia = [\"192.0.2.1:25\"]\n";
        let rows: [Row; 10] = [
            ("", "", &[], &[]),
            // what is written out and what is left out are the same
            ("", "[limits]\nhops_max = 30\n[[listener]]\n", &[], &[]),
            ("", "[limits]\nhops_max = 31", &["limits.hops_max"], &[]),
            (
                "postmaster = \"a@x.test\"",
                "shards = 2\npostmaster = \"b@x.test\"",
                &["postmaster"],
                &["shards"],
            ),
            ("", PEER, &["peer"], &[]),
            (PEER, OTHER, &["peer.account", "peer.proxy"], &[]),
            ("", "[[listener]]\naddress = \"127.0.0.1:25\"", &[], &["listener.address"]),
            ("", ROUTE, &[], &["route"]),
            (
                "[log]\nlevel = \"warn\"\npath = \"a\"",
                "[log]\npath = \"b\"",
                &["log.level"],
                &["log.path"],
            ),
            (
                "[memory]\nready_max = 100",
                "[delivery]\nretry_max = \"2h\"\n[disk]\nfree_bytes_min = \"2GiB\"",
                &["disk.free_bytes_min", "delivery.retry_max"],
                &["memory.ready_max"],
            ),
        ];
        for (running, new, changed, waiting) in rows {
            let reloaded = parse(running).reloaded(parse(new)).expect(new);
            assert_eq!(reloaded.changed, changed, "{running}\n->\n{new}");
            assert_eq!(reloaded.waiting, waiting, "{running}\n->\n{new}");
        }
    }

    #[test]
    fn what_applies_is_taken_and_what_needs_a_restart_stays() {
        let running = parse(
            "hostname = \"old.test\"\n[[account]]\nname = \"gone\"\npassword_hash = \
            \"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
            qKlZZ7kwrQVRbFZGbtfMOtcDdxw2GFW7wJ5kNTKOSRU\"\n",
        );
        let text = "hostname = \"new.test\"\nshutdown_grace = \"1s\"\ndata_dir = \"other\"\n\
            [[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"127.0.0.1:2\"\n\
            [[peer]]\nnetwork = \"192.0.2.0/24\"\naccount = \"a\"\n\
            [limits]\nrecipients_max = 200\n";
        let new = parse(text);
        let Reloaded { config, waiting, .. } = running.reloaded(new.clone()).expect(text);
        let expected = Config {
            // that of the old name: mail for it goes where the relay says that it is
            postmaster: "postmaster@old.test".to_owned(),
            hostname: running.hostname.clone(),
            data_dir: running.data_dir.clone(),
            listeners: running.listeners.clone(),
            // its EHLO is the name that stays
            sources: running.sources.clone(),
            tables: config.tables.clone(),
            ..new.clone()
        };
        assert_eq!(config, expected);
        assert_eq!(waiting, ["hostname", "data_dir", "listener"]);

        // The same file again: nothing is new, and what waits still waits.
        let again = config.reloaded(new).expect(text);
        assert_eq!(again, Reloaded { config, changed: Vec::new(), waiting });
    }

    /// Every knob of every table that is written once is looked at, under its own rule.
    #[test]
    fn no_knob_is_forgotten() {
        for section in SECTIONS.iter().filter(|section| section.shape == Shape::One) {
            for knob in section.knobs {
                let text = format!("{}\n{} = {}\n", section.heading(), knob.key, other(knob));
                let reloaded = parse("").reloaded(parse(&text)).expect(&text);
                let name = vec![section.full_name(knob)];
                let expected = match knob.reload {
                    Reload::Applies => (name, Vec::new()),
                    Reload::Restart => (Vec::new(), name),
                };
                assert_eq!((reloaded.changed, reloaded.waiting), expected, "{text}");
            }
        }
    }

    /// A value that is allowed and not the default.
    fn other(knob: &Knob) -> String {
        let described = (knob.describe)();
        let words = described.words.iter().map(|(word, _)| format!("\"{word}\""));
        let tried = ["[\"192.0.2.1:53\"]", "\"127.0.0.1:9\"", "\"100MiB\"", "\"2GiB\"", "\"1MiB\""];
        let numbers = ["\"20s\"", "\"10m\"", "\"2h\"", "\"100m\"", "50", "500", "\"else\""];
        let small = ["\"7/s\"", "\"5s\"", "3", "true"];
        let tried = tried.into_iter().chain(numbers).chain(small);
        let values = words.chain(tried.map(str::to_owned));
        let section = SECTIONS.iter().find(|s| s.knobs.iter().any(|one| std::ptr::eq(one, knob)));
        let heading = section.expect("a knob has a table").heading();
        let is_allowed = |value: &String| {
            let text = format!("{heading}\n{} = {value}\n", knob.key);
            Config::parse("test", &text, "box").is_ok_and(|config| config != parse(""))
        };
        let mut values = values.filter(is_allowed);
        values.next().unwrap_or_else(|| panic!("{}: no other value is known", knob.key))
    }

    #[test]
    fn tables_that_come_and_go_have_one_rule() {
        let many = SECTIONS.iter().filter(|section| section.shape == Shape::Many);
        let rules: Vec<_> = many.map(|section| (section.name, section.reload())).collect();
        let expected = [
            ("listener", Reload::Restart),
            ("peer", Reload::Applies),
            ("account", Reload::Applies),
            ("source", Reload::Restart),
            ("route", Reload::Restart),
            ("provider", Reload::Restart),
        ];
        assert_eq!(rules, expected);
    }

    /// Both files are right, but the larger message would wait for ever for the running budget.
    #[test]
    fn a_bound_above_a_budget_that_stays_is_refused() {
        let text = "[limits]\nmessage_bytes_max = \"100MiB\"\n\
            [memory]\ncommit_bytes_max = \"128MiB\"\n";
        let error = parse("").reloaded(parse(text)).expect_err("64MiB are waited for");
        let expected = "the configuration needs a restart to take effect: \
            limits.message_bytes_max (100MiB) is above memory.commit_bytes_max (64MiB)";
        assert_eq!(error.lines(), [expected]);
    }

    /// Routes stay until a restart, and [delivery] does not.
    #[test]
    fn retries_that_contradict_a_route_that_stays_are_refused() {
        let route = "[[route]]\ndomain = \"*\"\nvia = \"mx\"\nretry_first = \"2h\"\n";
        let running = format!("{route}[delivery]\nretry_max = \"3h\"\n");
        let error = parse(&running).reloaded(parse("")).expect_err("the default is 1h");
        let expected = "the configuration needs a restart to take effect: \
            route.retry_first (2h) is above delivery.retry_max (1h)";
        assert_eq!(error.lines(), [expected]);
    }

    #[test]
    fn hashes_stay_out_of_debug_output() {
        let config = parse(
            "[[account]]\nname = \"acme\"\npassword_hash = \
             \"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
             qKlZZ7kwrQVRbFZGbtfMOtcDdxw2GFW7wJ5kNTKOSRU\"\n",
        );
        assert!(!format!("{config:?}").contains("argon2id"), "{config:?}");
    }
}
