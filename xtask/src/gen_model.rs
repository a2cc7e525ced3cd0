//! Service models as botocore keeps them, and the part of them that the listed operations reach.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One service's model.
pub struct Model {
    /// The name botocore files the service under, such as `ec2`.
    pub service: String,
    document: Value,
}

impl Model {
    /// Reads `data/<service>/<newest version>/service-2.json[.gz]`.
    pub fn read(data: &Path, service: &str) -> Result<Model> {
        let folder = data.join(service);
        let mut versions: Vec<PathBuf> = std::fs::read_dir(&folder)
            .with_context(|| format!("botocore keeps no service in {}", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        versions.sort();
        let newest = versions.last().with_context(|| format!("{} is empty", folder.display()))?;
        let text = read_maybe_gzip(newest)?;
        let document = serde_json::from_str(&text).with_context(|| format!("model in {}", newest.display()))?;
        Ok(Model { service: service.to_owned(), document })
    }

    /// The protocol word: `json`, `query` or `ec2`.
    pub fn protocol(&self) -> &str {
        self.document["metadata"]["protocol"].as_str().unwrap_or_default()
    }

    /// The operation with this name.
    pub fn operation(&self, name: &str) -> Result<&Value> {
        self.document["operations"]
            .get(name)
            .with_context(|| format!("the {} model has no operation {name}", self.service))
    }

    /// The shape with this name.
    pub fn shape(&self, name: &str) -> Result<&Value> {
        self.document["shapes"].get(name).with_context(|| format!("the {} model has no shape {name}", self.service))
    }

    /// Every exception of the service: error code and HTTP status.
    pub fn exceptions(&self) -> BTreeMap<String, u64> {
        let Some(shapes) = self.document["shapes"].as_object() else { return BTreeMap::new() };
        shapes
            .iter()
            .filter(|(_, shape)| shape["exception"].as_bool() == Some(true))
            .map(|(name, shape)| {
                let code = shape["error"]["code"].as_str().unwrap_or(name);
                let default = if shape["fault"].as_bool() == Some(true) { 500 } else { 400 };
                (code.to_owned(), shape["error"]["httpStatusCode"].as_u64().unwrap_or(default))
            })
            .collect()
    }

    /// The names of all structures that these operations' inputs and outputs reach.
    pub fn reachable<'a>(&self, operations: impl Iterator<Item = &'a str>) -> Result<BTreeSet<String>> {
        let mut todo = Vec::new();
        for name in operations {
            let operation = self.operation(name)?;
            todo.extend(["input", "output"].iter().filter_map(|end| shape_name(&operation[*end])));
        }
        let mut seen = BTreeSet::new();
        let mut structures = BTreeSet::new();
        while let Some(name) = todo.pop() {
            if !seen.insert(name.to_owned()) {
                continue;
            }
            let shape = self.shape(name)?;
            match shape["type"].as_str().unwrap_or_default() {
                "structure" => {
                    if shape["document"].as_bool() == Some(true) {
                        bail!("{name} is a free-form document, which the generator does not know");
                    }
                    structures.insert(name.to_owned());
                    todo.extend(members(shape).filter_map(|(_, member)| shape_name(member)));
                }
                "list" => todo.extend(shape_name(&shape["member"])),
                "map" => todo.extend([&shape["key"], &shape["value"]].into_iter().filter_map(shape_name)),
                _ => {}
            }
        }
        Ok(structures)
    }

    /// True when a value of structure `from` can hold a `to` without a list or map between them.
    pub fn embeds(&self, from: &str, to: &str) -> bool {
        let mut todo = vec![from];
        let mut seen = BTreeSet::new();
        while let Some(name) = todo.pop() {
            if !seen.insert(name) {
                continue;
            }
            let Ok(shape) = self.shape(name) else { continue };
            for (_, member) in members(shape) {
                match shape_name(member) {
                    Some(inner) if inner == to => return true,
                    Some(inner) => todo.push(inner),
                    None => {}
                }
            }
        }
        false
    }
}

/// The shape a member, list item or operation end refers to.
pub fn shape_name(reference: &Value) -> Option<&str> {
    reference["shape"].as_str()
}

/// The members of a structure.
pub fn members(shape: &Value) -> impl Iterator<Item = (&String, &Value)> {
    shape["members"].as_object().into_iter().flatten()
}

/// Names that the model requires in a structure.
pub fn required(shape: &Value) -> BTreeSet<&str> {
    shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The folder of botocore's models: `BOTOCORE_DATA`, else where python finds botocore.
pub fn data_folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("BOTOCORE_DATA") {
        return Ok(folder.into());
    }
    let script = "import botocore,os;print(os.path.dirname(botocore.__file__))";
    let output = Command::new("python3").args(["-c", script]).output().context("could not run python3")?;
    if !output.status.success() {
        bail!("python3 has no botocore; install it (pip install botocore) or set BOTOCORE_DATA to its data folder");
    }
    Ok(Path::new(String::from_utf8(output.stdout)?.trim()).join("data"))
}

fn read_maybe_gzip(folder: &Path) -> Result<String> {
    let packed = folder.join("service-2.json.gz");
    let mut text = String::new();
    if packed.exists() {
        flate2::read::GzDecoder::new(std::fs::File::open(&packed)?).read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(folder.join("service-2.json"))
            .with_context(|| format!("{} holds no service-2.json", folder.display()))?;
    }
    Ok(text)
}
