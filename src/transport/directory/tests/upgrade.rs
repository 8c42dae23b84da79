//! A directory of the version before.

use super::*;

impl World {
    /// A directory as format 2 left it, in the midst of its input.
    fn older() -> Self {
        let world = World::for_crashes();
        run(&mut world.lane().unwrap(), 4).unwrap();
        let committed = world.committed();
        let position = |topic: &str| {
            let bytes = fs::read(world.path(&format!("in/{topic}.ndjson"))).unwrap();
            let tail = &bytes[bytes.len().saturating_sub(256)..];
            format!(
                "{{\"offset\":{},\"tail\":{}}}",
                bytes.len(),
                crc32fast::hash(tail)
            )
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
fn a_directory_of_the_version_before_is_brought_to_this_one() {
    let (_, outputs) = undisturbed(4);
    let world = World::older();
    run(&mut world.lane().unwrap(), 4).unwrap();
    assert_eq!(world.outputs(), outputs);
    assert!(!world.path("out/main.all.ndjson").exists());
    assert_eq!(world.directory().findings().unwrap(), []);
    let lane = &world.committed().lanes["main"];
    assert!(lane["patron"].log.is_some() && lane["loan"].log.is_none());
    assert!(lane["loan"].anchors.len() > 1);
    world.fill("loan", 2);
    run(&mut world.lane().unwrap(), 4).unwrap();
    assert_eq!(
        world.output("main.all").lines().count(),
        outputs[0].lines().count() + 2
    );
}

#[test]
fn a_process_may_die_after_any_step_of_it() {
    let (_, outputs) = undisturbed(4);
    let mut steps = 0;
    loop {
        let world = World::older();
        let died = world.run_for(steps, 4).is_err();
        // It dies again, in the midst of mending.
        let _ = world.run_for(steps % 12, 4);
        world.run_for(STEPS_ENOUGH, 4).unwrap();
        assert_eq!(world.outputs(), outputs, "died after step {steps}");
        assert_eq!(world.directory().findings().unwrap(), []);
        if !died {
            break;
        }
        steps += 1;
    }
    assert!(steps > 15, "{steps}");
}

#[test]
fn one_that_is_not_as_it_was_left_stops() {
    let world = World::older();
    fs::write(world.path("in/patron.ndjson"), "").unwrap();
    check_stop(world.lane(), &["in/patron.ndjson", "may only grow"]);
    let world = World::older();
    fs::remove_file(world.path(".zeef/zeef.state.main.ndjson")).unwrap();
    check_stop(world.lane(), &["zeef.state.main"]);
    // The mark of a version before is of no use beside files of this one.
    let world = World::older();
    fs::create_dir_all(world.path("out/main")).unwrap();
    fs::write(world.path("out/main/main.all.ndjson"), "{}\n").unwrap();
    check_stop(world.lane(), &["main/main.all", "earlier version"]);
    // An output of a recipient that is no more keeps a folder of its own.
    let world = World::older();
    let settings = DirectorySettings {
        owners: BTreeMap::new(),
        ..world.settings()
    };
    drop(Directory::open(settings).unwrap());
    assert!(world.path("out/main.all/main.all.ndjson").exists());
}
