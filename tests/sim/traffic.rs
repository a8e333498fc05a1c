//! The books of the network: which connections the relay had open, for which lane, and when.
//!
//! A connection is open from the moment the relay has it until the relay lets go of it: nothing of
//! it is on its way any more, so the limits hold without tolerance. Which lane it belongs to is
//! seen from its first recipient; before that it counts for none.
//! Limits are per lane (route, site and source) over all shards; see `deliver/share.rs`.

use super::executor::Group;
use super::plan::{LISTENERS, Plan};
use super::zone;
use baton::time::Moment;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// What servers watch themselves.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub recipients_per_transaction_max: usize,
}

/// One connection that the relay opened.
#[derive(Debug)]
pub struct Call {
    pub life: Group,
    pub from: IpAddr,
    pub to: SocketAddr,
    pub opened: Moment,
    closed: Cell<Option<Moment>>,
    /// The domain of its first recipient.
    domain: RefCell<Option<String>>,
    /// The sender of its last transaction. A message may go in several.
    sender: RefCell<Option<String>>,
    messages: Cell<u32>,
}

impl Call {
    pub fn new(life: Group, from: IpAddr, to: SocketAddr, opened: Moment) -> Call {
        Call {
            life,
            from,
            to,
            opened,
            closed: Cell::default(),
            domain: RefCell::default(),
            sender: RefCell::default(),
            messages: Cell::default(),
        }
    }

    pub fn close(&self, now: Moment) {
        self.closed.set(Some(now));
    }

    /// A transaction of `sender` has begun.
    pub fn began(&self, sender: &str) {
        if self.sender.borrow().as_deref() != Some(sender) {
            self.messages.set(self.messages.get() + 1);
            *self.sender.borrow_mut() = Some(sender.to_owned());
        }
    }

    /// A recipient was named.
    pub fn is_for(&self, recipient: &str) {
        let domain = recipient.rsplit('@').next().unwrap_or("");
        self.domain.borrow_mut().get_or_insert_with(|| domain.to_owned());
    }

    pub fn domain(&self) -> Option<String> {
        self.domain.borrow().clone()
    }

    pub fn messages(&self) -> u32 {
        self.messages.get()
    }

    fn is_mail(&self) -> bool {
        self.to.port() != zone::PORT
    }
}

/// What of `calls` was against the configuration, in words. `now` is the end of the run.
pub fn breaches(calls: &[Rc<Call>], plan: &Plan, now: Moment) -> Vec<String> {
    let knobs = &plan.knobs;
    let mut found = Vec::new();
    let mut lanes: BTreeMap<(Group, String, IpAddr), Vec<&Call>> = BTreeMap::new();
    let mut lives: BTreeMap<Group, Vec<&Call>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.is_mail()) {
        lives.entry(call.life).or_default().push(call);
        if let Some(domain) = call.domain() {
            let lane = (call.life, knobs.lane_of(&domain), call.from);
            lanes.entry(lane).or_default().push(call);
        }
        if u64::from(call.messages()) > knobs.messages_per_connection_max {
            found.push(format!("{} messages over one connection to {}", call.messages(), call.to));
        }
    }
    for ((_, lane, from), calls) in &lanes {
        let most = open_at_once(calls, now);
        if most > knobs.connections_max {
            found.push(format!("{most} connections at once to {lane} from {from}"));
        }
        found.extend(too_fast(lane, calls, plan, now));
    }
    for calls in lives.values() {
        let most = open_at_once(calls, now);
        // Each shard may have one.
        let allowed = knobs.outbound_sessions_max.max(plan.shards_max);
        if most > allowed {
            found.push(format!("{most} connections at once in all, {allowed} allowed"));
        }
    }
    let known: Vec<IpAddr> = match knobs.sources {
        0 => vec![LISTENERS[0].parse::<SocketAddr>().expect("an address").ip()],
        count => (0..count).map(zone::source).collect(),
    };
    let strange = calls.iter().filter(|call| call.is_mail() && !known.contains(&call.from));
    found.extend(
        strange
            .map(|call| format!("connected to {} from {}, who is no source", call.to, call.from)),
    );
    found
}

/// The most that were open at the same time.
pub fn open_at_once(calls: &[&Call], now: Moment) -> u64 {
    let mut steps = Vec::with_capacity(2 * calls.len());
    for call in calls {
        steps.push((call.opened, 1));
        steps.push((call.closed.get().unwrap_or(now), -1));
    }
    // At one moment what ends comes before what begins.
    steps.sort_unstable();
    let (mut open, mut most) = (0_i64, 0_i64);
    for (_, step) in steps {
        open += step;
        most = most.max(open);
    }
    most as u64
}

/// More messages in the time of one life than its lane's rate allows: half a second is saved up
/// (`deliver/pace.rs`), and each shard with a part of the lane may begin with one.
fn too_fast(lane: &str, calls: &[&Call], plan: &Plan, now: Moment) -> Option<String> {
    let per_minute = plan.knobs.rate_per_minute?;
    let begun = calls.iter().map(|call| call.opened).min()?;
    let ended = calls.iter().filter_map(|call| call.closed.get()).max().unwrap_or(now);
    // A connection may take its place before it is made, and time out with other hosts first.
    let time = ended.since(begun) + Duration::from_millis(500) + Duration::from_secs(120);
    let allowed = time.as_secs_f64() * per_minute as f64 / 60.0 + plan.shards_max as f64;
    let sent: u64 = calls.iter().map(|call| u64::from(call.messages())).sum();
    let too_many = sent as f64 > allowed.ceil();
    too_many.then(|| format!("{sent} messages to {lane} in {time:?}, {allowed:.0} allowed"))
}
