//! The image config: what runs, how, and from which layers.
//!
//! Source: OCI image-spec, `config.md`, and the fields that Docker adds to it (`Healthcheck`, `OnBuild`,
//! `Shell`, `ArgsEscaped`). Fields that neither knows are kept and written back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::DiffId;

/// An image config document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The instruction set: Go's `GOARCH` words.
    pub architecture: String,
    /// The operating system: Go's `GOOS` words.
    pub os: String,
    /// The variant of the instruction set (`v7`, `v8`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// When the image was made, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What a container of this image runs and sees.
    #[serde(default)]
    pub config: RunConfig,
    /// The layers, lowest first.
    pub rootfs: RootFs,
    /// How it was made, oldest first.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Fields this program does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The diff ids, lowest layer first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}

/// One line of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// The execution parameters of an image. Absent and `null` both read as empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// User and group of the process: `user[:group]`, names or numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Ports as `port[/proto]`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// The environment as `NAME=value`, in order.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments, or the program when there is no entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that hold data of a container rather than of the image.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Docker: whether the command is already escaped (Windows).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// Docker: how to see whether a container is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Docker: instructions for builds that start from this image.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Docker: the shell of shell-form instructions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Fields this program does not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// The `{}` that stands for a member of a set in image configs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Docker's health check. Times are in nanoseconds; zero means "inherit".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", line]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,
    /// Time between two checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// Time after which a check counts as hung.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// Time a container has to come up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// Time between two checks while it comes up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// Failures in a row that count as unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ImageConfig {
    /// The config of an image with no layer and nothing set.
    #[must_use]
    pub fn scratch(architecture: &str, os: &str) -> Self {
        Self {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: None,
            created: None,
            author: None,
            config: RunConfig::default(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() },
            history: Vec::new(),
            other: BTreeMap::new(),
        }
    }
}

impl RunConfig {
    /// The value of an environment variable; the last one wins.
    #[must_use]
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .rev()
            .find_map(|line| line.split_once('=').filter(|(n, _)| *n == name).map(|(_, v)| v))
    }

    /// Sets an environment variable, in place when it exists.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let line = format!("{name}={value}");
        match self.env.iter_mut().find(|line| line.split_once('=').map_or(line.as_str(), |(n, _)| n) == name)
        {
            Some(existing) => *existing = line,
            None => self.env.push(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Raw;

    #[test]
    fn a_docker_config_survives_a_round_trip() {
        let text = r#"{"architecture":"amd64","config":{"Cmd":["sh"],"Env":["PATH=/bin"],"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Interval":1000,"Test":["CMD","true"]},"OnBuild":["RUN true"],"Shell":["/bin/sh","-c"],"X-New":[1]},"docker_version":"20","history":[{"created_by":"x","empty_layer":true}],"os":"linux","rootfs":{"diff_ids":[],"type":"layers"}}"#;
        let raw = Raw::<ImageConfig>::parse("config", text.as_bytes().to_vec()).unwrap();
        assert_eq!(Raw::write("config", raw.value().clone()).unwrap().bytes(), text.as_bytes());
    }

    #[test]
    fn nulls_read_as_empty() {
        let text = r#"{"architecture":"a","os":"l","config":{"Env":null,"Cmd":null,"Volumes":null,"Labels":null,"OnBuild":null,"ExposedPorts":null},"rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config, ImageConfig::scratch("a", "l"));
    }

    #[test]
    fn environment_variables_are_replaced_in_place() {
        let mut config =
            RunConfig { env: vec!["A=1".into(), "B=2".into(), "C".into()], ..RunConfig::default() };
        config.set_env("A", "3=4");
        config.set_env("C", "5");
        config.set_env("D", "");
        assert_eq!(config.env, ["A=3=4", "B=2", "C=5", "D="]);
        assert_eq!((config.env("A"), config.env("D"), config.env("E")), (Some("3=4"), Some(""), None));
    }
}
