use super::*;
use crate::provenance::{Base, DigestSet, Parameters, Resource, Stage, Step, Work, Wrote};
use rebit_oci::TreeId;

fn step(instruction: &str, read: u8, tree: u8) -> Step {
    let digest = DigestSet::from([("rebitSelection".to_owned(), read.to_string())]);
    Step {
        copy: None,
        instruction: instruction.to_owned(),
        kind: "run".to_owned(),
        network: true,
        reads: vec![Resource { name: Some("context".to_owned()), uri: None, digest }],
        run: None,
        tree: TreeId([tree; 32]),
        wrote: Wrote::default(),
    }
}

fn made(dockerfile: &str, steps: Vec<Step>) -> Provenance {
    let base = Base { kind: "scratch".to_owned(), name: None, tree: TreeId([0; 32]) };
    let stage = Stage { base, name: "s".to_owned(), platform: "linux/amd64".to_owned(), steps };
    let work = Work { stages: vec![stage], ..Work::default() };
    let file = Resource {
        name: Some("Dockerfile".to_owned()),
        uri: None,
        digest: DigestSet::from([("sha256".to_owned(), dockerfile.to_owned())]),
    };
    Provenance::new(Digest::of(b""), Parameters::default(), work, vec![file])
}

#[test]
fn the_first_step_that_differs_is_named_and_why() {
    let known = made("1", vec![step("RUN a", 1, 1), step("RUN b", 2, 2)]);
    let check = |dockerfile: &str, steps: Vec<Step>, expected: &[&str]| {
        let found = moved::moved(&known, &made(dockerfile, steps));
        let said: Vec<String> = found
            .iter()
            .map(|moved| match moved {
                Moved::Input { name, given, rebuilt } => format!("{name} {given} {rebuilt}"),
                Moved::Instruction { step, given } => format!("{} was {given}", step.instruction),
                Moved::Read { step, from } => format!("{} read {from}", step.instruction),
                Moved::Result { step, network } => format!("{} gave {network}", step.instruction),
            })
            .collect();
        assert_eq!(said, expected);
    };
    check("1", vec![step("RUN a", 1, 1), step("RUN b", 2, 2)], &[]);
    check("1", vec![step("RUN a", 1, 1), step("RUN b", 2, 3)], &["RUN b gave true"]);
    check("1", vec![step("RUN a", 9, 7), step("RUN b", 2, 3)], &["RUN a read context"]);
    check(
        "2",
        vec![step("RUN c", 1, 1), step("RUN b", 2, 3)],
        &["Dockerfile sha256:1 sha256:2", "RUN c was RUN a"],
    );
}

#[test]
fn verdicts_are_in_order() {
    use Verdict::{Different, Identical, IdenticalTar, IdenticalTree};
    assert!(Identical < IdenticalTar && IdenticalTar < IdenticalTree && IdenticalTree < Different);
}
