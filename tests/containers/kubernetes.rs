//! deploy/kubernetes: its form, and that the pods fit the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{
    Effective, MANIFESTS, ROOT, Told, bytes, documents, pinned, seconds, spoiled, text, validator, value, words,
};

/// The oldest and the newest version that the manifests are held to.
const VERSIONS: [&str; 2] = ["1.31.0", "1.37.0"];

fn manifest(kind: &str) -> Value {
    let all = MANIFESTS.map(|name| documents(&format!("deploy/kubernetes/{name}")));
    let found = all.into_iter().flatten().find(|document| document["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

/// The pods' templates, by what makes them.
fn pods() -> [(&'static str, Value); 2] {
    ["Job", "StatefulSet"].map(|kind| (kind, manifest(kind)["spec"]["template"].clone()))
}

fn container(pod: &Value) -> &Value {
    let containers = pod["spec"]["containers"].as_array().expect("containers");
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// What the container tells the program, as the program takes it: the ConfigMap is a file, the Secret is there.
fn effective(kind: &str, pod: &Value) -> Effective {
    let container = container(pod);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("iotpipe.toml");
    let configuration = manifest("ConfigMap");
    fs::write(&file, configuration["data"]["iotpipe.toml"].as_str().expect("a file")).expect("writable");
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    let mounted = mounts[0]["mountPath"].as_str().expect("a path");
    let mut environment = BTreeMap::new();
    for variable in container["env"].as_array().expect("variables") {
        let name = variable["name"].as_str().expect("a name").to_owned();
        let text = match variable["value"].as_str() {
            Some(text) => text.replace(mounted, directory.path().to_str().expect("UTF-8")),
            None if variable["valueFrom"]["secretKeyRef"]["optional"] == true => "from-the-secret".to_owned(),
            None => continue,
        };
        environment.insert(name, text);
    }
    let arguments = words(&container["args"]);
    let arguments = arguments
        .iter()
        .map(|it| it.replace("$(POD_NAME)", "iotpipe-consumer-0"));
    let told = Told {
        name: kind.to_owned(),
        arguments: arguments.collect(),
        environment,
    };
    let effective = told.effective();
    assert!(
        effective.values().any(|(_, origin)| origin.starts_with("file ")),
        "{kind}: the configuration is not read"
    );
    effective
}

fn validate(version: &str, file: &Path) -> (bool, String) {
    let output = validator("kubernetes-validate")
        .args(["--strict", "--kubernetes-version", version])
        .arg(file)
        .output()
        .expect("the validator runs");
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn the_manifests_follow_the_schemas_of_kubernetes() {
    for version in VERSIONS {
        for name in MANIFESTS {
            let (valid, said) = validate(version, &PathBuf::from(ROOT).join("deploy/kubernetes").join(name));
            assert!(valid, "{version}: {said}");
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let file = "deploy/kubernetes/consumer.yaml";
    let spoils = [
        ("terminationGracePeriodSeconds: 40", "terminationGracePeriod: 40"),
        ("runAsUser: 10001", "runAsUser: nobody"),
        ("maxUnavailable: 1", "maxUnavailabel: 1"),
    ];
    for (from, to) in spoils {
        let (valid, said) = validate(VERSIONS[0], &spoiled(file, from, to, directory.path()));
        assert!(!valid, "{to}: {said}");
    }
}

#[test]
fn kustomize_takes_all_manifests_and_the_image_of_this_version() {
    let kustomization = &documents("deploy/kubernetes/kustomization.yaml")[0];
    assert_eq!(words(&kustomization["resources"]), MANIFESTS);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(kustomization["images"][0]["newTag"], version);
    let in_folder = fs::read_dir(Path::new(ROOT).join("deploy/kubernetes")).expect("readable");
    assert_eq!(
        in_folder.count(),
        MANIFESTS.len() + 1,
        "a file that kustomization.yaml does not name"
    );
    for (kind, pod) in pods() {
        let image = container(&pod)["image"].as_str().expect("an image");
        assert_eq!(
            (pinned(image), image),
            (version, format!("iotpipe:{version}").as_str()),
            "{kind}"
        );
    }
}

#[test]
fn the_program_understands_what_pods_tell_it() {
    for (kind, pod) in pods() {
        let effective = effective(kind, &pod);
        assert_eq!(value(&effective, "kafka.topic"), "iot_sensor_data");
        assert!(value(&effective, "store.url").ends_with(".svc:9042/iot_data"));
        assert_eq!(value(&effective, "store.password"), "***");
        assert_eq!(value(&effective, "log.file"), "none");
    }
}

/// A Service of that name in the same namespace sets this variable, unless the pod says that it wants none.
#[test]
fn variables_of_services_would_stop_the_program_and_are_off() {
    let output = Command::new(env!("CARGO_BIN_EXE_iotpipe"))
        .arg("config")
        .env_clear()
        .env("CASSANDRA_PORT", "tcp://10.0.0.7:9042")
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    for (kind, pod) in pods() {
        assert_eq!(pod["spec"]["enableServiceLinks"], false, "{kind}");
    }
}

#[test]
fn a_pod_ends_in_order_and_comes_back_as_itself() {
    let (_, pod) = &pods()[1];
    let effective = effective("StatefulSet", pod);
    assert_eq!(effective["consume.instance_id"].0, "iotpipe-consumer-0");
    let name = container(pod)["env"][0].clone();
    assert_eq!(name["name"], "POD_NAME");
    assert_eq!(name["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
    let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    let drain = seconds(value(&effective, "consume.drain_timeout"));
    assert!(grace >= drain + 10, "{grace} s");
    // Else a rolling update, which may take the whole of both, moves its partitions to others and back.
    let session = seconds(value(&effective, "consume.session_timeout"));
    assert!(session > grace, "{session} s");
}

#[test]
fn a_consumer_fits_into_the_memory_that_it_is_given() {
    let (_, pod) = &pods()[1];
    let resources = &container(pod)["resources"];
    let size = |of: &str| bytes(resources[of]["memory"].as_str().expect("a size"));
    let remembered = bytes(value(&effective("StatefulSet", pod), "consume.state_memory").trim_end_matches('B'));
    // With a million sensors 343 MiB were measured, 256 MiB of them what is remembered of sensors: docs/performance.md.
    assert!(
        size("limits") >= remembered + (128 << 20),
        "{} MiB",
        size("limits") >> 20
    );
    // The most that was measured with few sensors.
    assert!(size("requests") >= 174 << 20);
    assert_eq!(resources["limits"]["cpu"], Value::Null);
}

/// What the restricted Pod Security Standard asks for, and no writable file system.
#[test]
fn pods_run_without_rights() {
    for (kind, pod) in pods() {
        let (whole, own) = (&pod["spec"]["securityContext"], &container(&pod)["securityContext"]);
        assert_eq!(whole["runAsNonRoot"], true, "{kind}");
        assert_eq!(whole["seccompProfile"]["type"], "RuntimeDefault", "{kind}");
        assert_eq!(own["allowPrivilegeEscalation"], false, "{kind}");
        assert_eq!(own["readOnlyRootFilesystem"], true, "{kind}");
        assert_eq!(words(&own["capabilities"]["drop"]), ["ALL"], "{kind}");
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false, "{kind}");
    }
}

#[test]
fn selectors_choose_the_consumers_and_nothing_else() {
    let [(_, init), (_, consumer)] = pods();
    let set = manifest("StatefulSet");
    let selector = &set["spec"]["selector"]["matchLabels"];
    assert_eq!(*selector, consumer["metadata"]["labels"]);
    assert_ne!(*selector, init["metadata"]["labels"]);
    let service = manifest("Service");
    assert_eq!(
        (&service["spec"]["selector"], &service["metadata"]["name"]),
        (selector, &set["spec"]["serviceName"])
    );
    let budget = manifest("PodDisruptionBudget");
    assert_eq!(budget["spec"]["selector"]["matchLabels"], *selector);
    let partitions = effective("StatefulSet", &consumer)["kafka.partitions"].0.parse::<u64>();
    assert!(
        set["spec"]["replicas"].as_u64() <= partitions.ok(),
        "some consumers would have no partition"
    );
}

#[test]
fn the_probe_is_a_command_of_the_program() {
    let (_, pod) = &pods()[1];
    let probe = words(&container(pod)["readinessProbe"]["exec"]["command"]);
    iotpipe::cli::parse(&probe).unwrap_or_else(|error| panic!("{error}"));
    // One that restarts would turn an outage of the store into one of the consumers.
    assert_eq!(container(pod)["livenessProbe"], Value::Null);
}
