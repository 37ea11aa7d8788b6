//! Asks a running broker everything that we can say, in every version, and proves our messages by
//! its answers; or asks two brokers the same and prints where their answers differ.
//!
//! `ottla-differential HOST:PORT [--controller HOST:PORT] [--against HOST:PORT
//! [--against-controller HOST:PORT]] [--only CHAPTER] [--ends] [--table FILE] [--held FOLDER] [--verbose]`.
//! The first form fails if a request is not understood, an answer does not decode or encodes to other
//! bytes, or a field stayed at its default without a reason on record (`argued.rs`). The second tells the
//! same story to both brokers, as far as both serve it, compares field by field, and counts the questions
//! by API (`numbers`), into a file, too, if one is named. `--ends` sweeps only the first and the last version
//! of each API. `--verbose` prints every answer. `--held` only writes down what the broker's logs hold, for
//! scripts/golden-dirs (`held`).
#![allow(
    clippy::disallowed_methods,
    reason = "a program that waits for brokers, without a runtime"
)]
// A program that reports is made to print, and nothing of a program is reached from outside: `pub`
// only tells what other files use.
#![allow(clippy::print_stdout, unreachable_pub)]

mod broker;
mod leaves;
mod schema;
mod coverage;
mod argued;
mod story;
mod compare;
mod numbers;
mod held;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::broker::Broker;
use crate::coverage::Coverage;
use crate::numbers::{Extent, Numbers};
use crate::schema::Schema;
use crate::story::{Step, Story};

/// Where the definitions of the messages stand, from here.
const MESSAGES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../crates/protocol/src/messages"
);
const USAGE: &str = "usage: ottla-differential HOST:PORT [--controller HOST:PORT] \
                     [--against HOST:PORT [--against-controller HOST:PORT]] [--only CHAPTER] \
                     [--ends] [--table FILE] [--held FOLDER] [--verbose]";

/// Key to first and last version.
pub type Served = BTreeMap<i16, (i16, i16)>;

struct Arguments {
    broker: String,
    controller: Option<String>,
    against: Option<String>,
    against_controller: Option<String>,
    held: Option<PathBuf>,
    /// The one chapter that is told; what another prepares is not there, then.
    only: Option<String>,
    extent: Extent,
    table: Option<PathBuf>,
    is_verbose: bool,
}

fn main() -> ExitCode {
    let Some(arguments) = arguments(std::env::args().skip(1)) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments {
        broker: String::new(),
        controller: None,
        against: None,
        against_controller: None,
        held: None,
        only: None,
        extent: Extent::EveryVersion,
        table: None,
        is_verbose: false,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--controller" => arguments.controller = Some(words.next()?),
            "--against" => arguments.against = Some(words.next()?),
            "--held" => arguments.held = Some(words.next()?.into()),
            "--only" => arguments.only = Some(words.next()?),
            "--ends" => arguments.extent = Extent::Ends,
            "--table" => arguments.table = Some(words.next()?.into()),
            "--verbose" => arguments.is_verbose = true,
            "--against-controller" => arguments.against_controller = Some(words.next()?),
            _ if arguments.broker.is_empty() && !word.starts_with('-') => arguments.broker = word,
            _ => return None,
        }
    }
    (!arguments.broker.is_empty()).then_some(arguments)
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    if let Some(folder) = &arguments.held {
        return held::write(&arguments.broker, folder).map(|()| true);
    }
    let mut coverage = coverage()?;
    let served = served(&arguments.broker)?;
    let Some(against) = &arguments.against else {
        let teller = Teller::new(arguments, served);
        let steps = teller.tell(&arguments.broker, &arguments.controller, &mut coverage);
        teller.show(&steps);
        return Ok(coverage.report());
    };
    let also_served = self::served(against)?;
    let teller = Teller::new(arguments, common(&served, &also_served));
    // What is prepared through the controller's listener is prepared for both, or for none.
    let both = arguments.controller.is_some() && arguments.against_controller.is_some();
    let controller = |given: &Option<String>| given.clone().filter(|_| both);
    let broker = &arguments.broker;
    // Both at a time: neither knows of the other, and much of a story is waiting.
    let mut other_coverage = self::coverage()?;
    let (mine, theirs) = std::thread::scope(|scope| {
        let other = controller(&arguments.against_controller);
        let (teller, other_coverage) = (&teller, &mut other_coverage);
        let theirs = scope.spawn(move || teller.tell(against, &other, other_coverage));
        let mine = teller.tell(broker, &controller(&arguments.controller), &mut coverage);
        (mine, theirs.join())
    });
    let theirs = theirs.map_err(|_| format!("the story was not told to {against} to its end"))?;
    teller.show(&mine);
    teller.show(&theirs);
    let (is_same, tallies) = compare::compare(broker, &mine, against, &theirs);
    // A part of the story asks what it asks; the sweep asks all.
    let is_swept = match arguments.only.as_deref() {
        None | Some("sweep") => {
            let numbers = Numbers::of(arguments.extent, &also_served, &mine, &tallies);
            if let Some(file) = &arguments.table {
                let written = std::fs::write(file, &numbers.table);
                written.map_err(|why| format!("{}: {why}", file.display()))?;
            }
            numbers.print()
        }
        Some(_) => true,
    };
    // A preparation that failed at both leaves them with the same, empty answers.
    let is_sound = coverage.report_problems();
    let is_other_sound = other_coverage.report_problems();
    Ok(is_sound && is_other_sound && is_same && is_swept)
}

fn coverage() -> Result<Coverage, String> {
    let schema = Schema::read(Path::new(MESSAGES)).map_err(|why| format!("{MESSAGES}: {why}"))?;
    Ok(Coverage::new(schema))
}

/// What stays the same, whichever broker the story is told to.
struct Teller {
    /// Begins all names: nobody used them before, and both brokers hear the same.
    prefix: String,
    served: Served,
    only: Option<String>,
    extent: Extent,
    is_verbose: bool,
}

impl Teller {
    fn new(arguments: &Arguments, served: Served) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let prefix = format!("differential-{}", since.unwrap_or_default().as_secs());
        Self {
            prefix,
            served,
            only: arguments.only.clone(),
            extent: arguments.extent,
            is_verbose: arguments.is_verbose,
        }
    }

    fn tell(
        &self,
        address: &str,
        controller: &Option<String>,
        coverage: &mut Coverage,
    ) -> Vec<Step> {
        let controller = controller.as_ref();
        let mut story = Story {
            broker: Broker::new(address, "differential-throttled"),
            unthrottled: Broker::new(address, "differential"),
            controller: controller.map(|at| Broker::new(at, "differential")),
            coverage,
            steps: Vec::new(),
            served: self.served.clone(),
            extent: self.extent,
            second_broker: None,
            node: 0,
            prefix: self.prefix.clone(),
        };
        story.tell(self.only.as_deref());
        story.steps
    }

    fn show(&self, steps: &[Step]) {
        for step in steps.iter().filter(|_| self.is_verbose) {
            println!("{} v{} ({})", step.api, step.version, step.label);
            match &step.outcome {
                Ok(leaves) => leaves
                    .iter()
                    .for_each(|leaf| println!("    {} {}", leaf.path, leaf.value)),
                Err(why) => println!("    {why}"),
            }
        }
    }
}

fn served(address: &str) -> Result<Served, String> {
    let answer: ApiVersionsResponse = Broker::new(address, "differential")
        .ask(0, &ApiVersionsRequest::default())
        .map_err(|why| format!("{address}: {why}"))?;
    let range = |api: &ottla_protocol::messages::ApiVersion| {
        (api.api_key, (api.min_version, api.max_version))
    };
    Ok(answer.api_keys.iter().map(range).collect())
}

/// What both serve.
fn common(one: &Served, other: &Served) -> Served {
    let both = |(key, (from, to)): (&i16, &(i16, i16))| {
        let (other_from, other_to) = other.get(key)?;
        Some((*key, (*from.max(other_from), *to.min(other_to))))
    };
    one.iter().filter_map(both).collect()
}
