//! Stories of a partition's leader, told in `testdata/leader/*.txt`: each directive is news, and
//! what the host must do is the answer. `REWRITE=1 cargo test` writes the answers anew.

use datadriven::{TestCase, walk};
use ottla_replication::{Acknowledgement, Assignment, Durability, InSyncChange, Leader, LogEnds};

#[test]
fn stories() {
    walk("testdata/leader", |file| {
        let mut leader: Option<Leader> = None;
        file.run(|case| {
            if case.directive == "lead" {
                leader = Some(lead(case));
            }
            let leader = leader.as_mut().expect("lead first");
            let answer = tell(leader, case);
            leader.validate();
            let mut text = answer;
            while let Some(command) = leader.next_command() {
                text += &format!("{command:?}\n");
            }
            text + &format!(
                "high {} stable {}\n",
                leader.high_watermark(),
                leader.last_stable()
            )
        });
    });
}

fn lead(case: &TestCase) -> Leader {
    let end = number(case, "end").unwrap_or(0);
    let log = LogEnds {
        end,
        durable_end: number(case, "durable").unwrap_or(end),
        high_watermark: number(case, "high").unwrap_or(0),
        first_unstable: number(case, "unstable"),
    };
    let durability = if case.args.contains_key("written") {
        Durability::Written
    } else {
        Durability::Flushed
    };
    Leader::new(assignment(case), log, durability)
}

fn tell(leader: &mut Leader, case: &TestCase) -> String {
    match case.directive.as_str() {
        "lead" => {}
        "appended" => leader.handle_appended(number(case, "end").unwrap()),
        "flushed" => leader.handle_flushed(number(case, "end").unwrap()),
        "unstable" => leader.handle_first_unstable(number(case, "from")),
        "metadata" => return in_sync_change(leader.handle_assignment(assignment(case))),
        "min" => leader.handle_min_in_sync(number(case, "is").unwrap() as i32),
        "append" => {
            let acks = number(case, "acks").unwrap() as i16;
            return format!("{:?}\n", leader.may_append(acks));
        }
        "acks" => {
            let required = number(case, "for").unwrap();
            let is_enough = leader.in_sync().is_enough();
            let said = Acknowledgement::of(required, leader.high_watermark(), is_enough);
            return format!("{said:?}\n");
        }
        other => panic!("unknown directive {other}"),
    }
    String::new()
}

fn in_sync_change(change: InSyncChange) -> String {
    let words = [
        (change.has_shrunk, "the in-sync set has shrunk\n"),
        (change.has_grown, "the in-sync set has grown\n"),
    ];
    let said = words.iter().filter(|(is_so, _)| *is_so);
    said.map(|(_, words)| *words).collect()
}

fn assignment(case: &TestCase) -> Assignment {
    Assignment {
        leader_epoch: number(case, "epoch").unwrap_or(0) as i32,
        partition_epoch: number(case, "change").unwrap_or(0) as i32,
        replicas: nodes(case, "replicas").unwrap_or(vec![1]),
        in_sync: nodes(case, "in-sync").unwrap_or(vec![1]),
        min_in_sync: number(case, "min").unwrap_or(1) as i32,
    }
}

fn number(case: &TestCase, name: &str) -> Option<i64> {
    case.args.get(name)?.first()?.parse().ok()
}

fn nodes(case: &TestCase, name: &str) -> Option<Vec<i32>> {
    let ids = case.args.get(name)?;
    Some(
        ids.iter()
            .filter(|id| *id != "nobody")
            .map(|id| id.parse().unwrap())
            .collect(),
    )
}
