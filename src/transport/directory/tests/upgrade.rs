//! A directory in the previous format.

use super::*;

impl TestDirectory {
    /// A directory as format 2 left it, in the middle of its input.
    fn new_with_format_2() -> Self {
        let world = TestDirectory::new_for_crashes();
        copy_to_end(&mut world.open_lane().unwrap(), 4).unwrap();
        let committed = world.read_committed();
        let position = |topic: &str| {
            let bytes = fs::read(world.path(&format!("in/{topic}.ndjson"))).unwrap();
            let tail = &bytes[bytes.len().saturating_sub(256)..];
            format!("{{\"offset\":{},\"tail\":{}}}", bytes.len(), crc32fast::hash(tail))
        };
        let mut outputs = Vec::new();
        for (name, length) in &committed.outputs {
            let (owner, topic) = name.split_once('/').unwrap();
            let from = world.path(&format!("out/{name}.ndjson"));
            fs::rename(from, world.path(&format!("out/{topic}.ndjson"))).unwrap();
            let _ = fs::remove_dir(world.path(&format!("out/{owner}")));
            outputs.push(format!("\"{topic}\":{length}"));
        }
        let state = committed.state["zeef.state.main"].length;
        let text = format!(
            "{{\"format\":2,\"commit\":{},\"outputs\":{{{}}},\"state\":{{\"zeef.state.main\":{state}}},\
             \"taken_back\":false,\"lanes\":{{\"main\":{{\"loan\":{},\"patron\":{}}}}}}}",
            committed.commit,
            outputs.join(","),
            position("loan"),
            position("patron"),
        );
        fs::write(world.path(".zeef/committed.json"), text).unwrap();
        // What lay behind its length did not count then.
        let path = world.path(".zeef/zeef.state.main.ndjson");
        let rows = fs::read_to_string(&path).unwrap() + "{\"key\":\"torn";
        fs::write(path, rows).unwrap();
        world
    }
}

#[test]
fn directory_upgrade_from_format_2_keeps_all_outputs() {
    let (_, outputs) = run_undisturbed(4);
    let world = TestDirectory::new_with_format_2();
    copy_to_end(&mut world.open_lane().unwrap(), 4).unwrap();
    assert_eq!(world.read_outputs(), outputs);
    assert!(!world.path("out/main.all.ndjson").exists());
    assert_eq!(world.open_directory().findings().unwrap(), []);
    let lane = &world.read_committed().lanes["main"];
    assert!(lane["patron"].log.is_some() && lane["loan"].log.is_none());
    assert!(lane["loan"].anchors.len() > 1);
    world.append_messages("loan", 2);
    copy_to_end(&mut world.open_lane().unwrap(), 4).unwrap();
    assert_eq!(world.read_output("main.all").lines().count(), outputs[0].lines().count() + 2);
}

#[test]
fn directory_upgrade_survives_a_crash_at_any_step() {
    let (_, outputs) = run_undisturbed(4);
    let mut steps = 0;
    loop {
        let world = TestDirectory::new_with_format_2();
        let died = world.run_steps(steps, 4).is_err();
        // It dies again during recovery.
        let _ = world.run_steps(steps % 12, 4);
        world.run_steps(UNLIMITED_STEPS, 4).unwrap();
        assert_eq!(world.read_outputs(), outputs, "died after step {steps}");
        assert_eq!(world.open_directory().findings().unwrap(), []);
        if !died {
            break;
        }
        steps += 1;
    }
    assert!(steps > 15, "{steps}");
}

#[test]
fn directory_upgrade_refuses_changed_files() {
    let world = TestDirectory::new_with_format_2();
    fs::write(world.path("in/patron.ndjson"), "").unwrap();
    assert_stops(world.open_lane(), &["in/patron.ndjson", "may only grow"]);
    let world = TestDirectory::new_with_format_2();
    fs::remove_file(world.path(".zeef/zeef.state.main.ndjson")).unwrap();
    assert_stops(world.open_lane(), &["zeef.state.main"]);
    // The mark of a previous version is useless beside files of this one.
    let world = TestDirectory::new_with_format_2();
    fs::create_dir_all(world.path("out/main")).unwrap();
    fs::write(world.path("out/main/main.all.ndjson"), "{}\n").unwrap();
    assert_stops(world.open_lane(), &["main/main.all", "earlier version"]);
    // An output of a removed recipient keeps a folder of its own.
    let world = TestDirectory::new_with_format_2();
    let settings = DirectorySettings { output_owners: BTreeMap::new(), ..world.settings() };
    drop(Directory::open(settings).unwrap());
    assert!(world.path("out/main.all/main.all.ndjson").exists());
}
