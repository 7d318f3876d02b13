import { globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as RustArchitecture from "./RustArchitecture.ts"

const root = path.resolve(import.meta.dirname, "..", "native-host", "io-daemon", "src")

const house = RustArchitecture.make(
  globSync("**/*.rs", { cwd: root }).map((file) => [
    file.replaceAll(path.sep, "/"),
    readFileSync(path.join(root, file), "utf8")
  ])
)

/** Modules that the invented crates have besides the one under test. */
const others = {
  "lib.rs": "pub struct AppState;",
  "error.rs": "",
  "counters.rs": "",
  "state.rs": "",
  "serve.rs": "",
  "disk/mod.rs": "pub mod root;",
  "disk/root.rs": "",
  "sockets/mod.rs": "mod frame;",
  "sockets/frame.rs": "",
  "routes/mod.rs": "mod body;",
  "routes/body.rs": ""
}

const houseOf = (texts: Readonly<Record<string, string>>) => RustArchitecture.make(Object.entries(texts))

const usesOf = (file: string, text: string) =>
  [...houseOf({ ...others, [file]: text }).values()]
    .find((module) => module.file === file)!
    .uses.map(({ line, target }) => [line, target])

describe("native-host/io-daemon", () => {
  it("is found with its uses", () => {
    const uses = [...house.values()].flatMap((module) => module.uses)

    assert.isAbove(house.size, 40)
    assert.isAbove(uses.length, house.size)
  })

  it.each([
    ["has a floor for every module", RustArchitecture.floors],
    ["uses only lower floors: serve over routes over disk and sockets", RustArchitecture.directions],
    ["has no cycle of modules", RustArchitecture.cycles]
  ])("%s", (_, rule) => {
    const violations = rule(house)

    assert.deepStrictEqual(violations, [])
  })
})

describe("RustArchitecture", () => {
  it.each([
    ["error", 0],
    ["disk", 1],
    ["disk::locks::folders", 1],
    ["sockets::frame", 1],
    ["state", 2],
    ["routes::files", 3],
    ["lib", 4],
    ["serve", 4],
    ["main", 5],
    ["attic", undefined]
  ])("puts %s on floor %s", (key, expected) => {
    const floor = RustArchitecture.floorOf(house, key)

    assert.strictEqual(floor, expected)
  })

  it.each<[string, string, string, Array<[number, string]>]>([
    ["a path in the code", "disk/set.rs", "\nfn f() -> crate::error::Error {}", [[2, "error"]]],
    ["a neighbour", "disk/set.rs", "use super::root::Root;", [[1, "disk::root"]]],
    ["an item of the parent", "disk/set.rs", "use super::Taking;", [[1, "disk"]]],
    ["an item of the crate", "disk/set.rs", "use crate::AppState;", [[1, "lib"]]],
    [
      "groups in groups, over several lines",
      "serve.rs",
      "use crate::{\n    disk::{self, root::{Root, Made as M}},\n    error::Error as E,\n};\nuse std::io;",
      [
        [2, "disk"],
        [2, "disk::root"],
        [2, "disk::root"],
        [3, "error"]
      ]
    ],
    [
      "all items of a module",
      "disk/set.rs",
      "use crate::{error::*, state::*};",
      [
        [1, "error"],
        [1, "state"]
      ]
    ],
    [
      "a module inside the file",
      "disk/set.rs",
      "mod a { mod b { use super::super::super::root; } use super::x; }",
      [[1, "disk::root"]]
    ],
    [
      "a use after a module inside the file",
      "disk/set.rs",
      "mod a { fn f() {} }\nuse super::root;",
      [[2, "disk::root"]]
    ],
    [
      "a child of a folder",
      "disk/mod.rs",
      "mod root;\npub use self::root::A;\nfn f() { root::f() }",
      [
        [2, "disk::root"],
        [3, "disk::root"]
      ]
    ],
    [
      "the library in the program",
      "main.rs",
      "use piecewise_io_daemon::{AppState, serve::Limits};",
      [
        [1, "lib"],
        [1, "serve"]
      ]
    ]
  ])("sees %s", (_, file, text, expected) => {
    const uses = usesOf(file, text)

    assert.deepStrictEqual(uses, expected)
  })

  it("ignores comments, literals, visibilities and other crates", () => {
    const text = [
      "//! Not crate::routes.",
      "/* nor crate::serve, */ // nor crate::main",
      'const A: &str = "crate::serve \\" crate::routes";',
      'const B: &str = r#"crate::serve " crate::routes"#;',
      "const C: [char; 2] = ['\"', '\\''];",
      "pub(in crate::disk) fn f<'a>(a: &'a str) {}",
      "pub(super) use std::fs::File;",
      "use tokio::sync::{Mutex, error};"
    ].join("\n")

    const uses = usesOf("disk/set.rs", text)

    assert.deepStrictEqual(uses, [])
  })

  it.each([
    ["a module without a floor", RustArchitecture.floors, "attic.rs", "", "src/attic.rs:1 is in attic,"],
    ["a folder without a floor", RustArchitecture.floors, "attic/trunk.rs", "", "src/attic/trunk.rs:1 is in attic,"],
    [
      "disk that knows routes",
      RustArchitecture.directions,
      "disk/set.rs",
      "\nuse crate::routes::body;",
      "src/disk/set.rs:2 uses crate::routes::body: disk is below routes"
    ],
    [
      "disk that knows sockets",
      RustArchitecture.directions,
      "disk/set.rs",
      "use crate::{\n    error::Error,\n    sockets::frame::Frame,\n};",
      "src/disk/set.rs:3 uses crate::sockets::frame::Frame: disk and sockets must not use each other"
    ],
    [
      "sockets that know disk",
      RustArchitecture.directions,
      "sockets/tcp.rs",
      "fn f() {\n    super::super::disk::f();\n}",
      "src/sockets/tcp.rs:2 uses super::super::disk::f: sockets and disk must not use each other"
    ],
    [
      "a small module that knows disk",
      RustArchitecture.directions,
      "pool.rs",
      "use crate::disk::Disk;",
      "src/pool.rs:1 uses crate::disk::Disk: pool is below disk"
    ],
    [
      "routes that know serve",
      RustArchitecture.directions,
      "routes/files.rs",
      "use crate::serve;",
      "src/routes/files.rs:1 uses crate::serve: routes is below serve"
    ],
    [
      "a module that uses the state through the root of the crate",
      RustArchitecture.directions,
      "routes/files.rs",
      "use crate::AppState;",
      "src/routes/files.rs:1 uses crate::AppState: routes is below lib"
    ],
    [
      "a test that uses a higher floor",
      RustArchitecture.directions,
      "disk/set.rs",
      "#[cfg(test)]\nmod tests {\n    use crate::routes::router;\n}",
      "src/disk/set.rs:3 uses crate::routes::router: disk is below routes"
    ],
    [
      "two modules that use each other",
      RustArchitecture.cycles,
      "disk/root.rs",
      "use super::set::A;\nuse super::set::B;",
      "src/disk/set.rs:1 closes a cycle: disk::root -> disk::set -> disk::root"
    ],
    [
      "a module that uses the folder that uses it",
      RustArchitecture.cycles,
      "disk/mod.rs",
      "mod set;\npub use set::Set;",
      "src/disk/set.rs:2 closes a cycle: disk -> disk::set -> disk"
    ],
    [
      "a longer cycle of small modules",
      RustArchitecture.cycles,
      "counters.rs",
      "use crate::error::Error;",
      "src/counters.rs:1 closes a cycle: error -> pool -> counters -> error"
    ]
  ])("finds %s", (_, rule, file, text, expected) => {
    const bad = houseOf({
      ...others,
      ...(rule === RustArchitecture.cycles
        ? {
            "disk/set.rs": "use super::root;\nuse super::lock;",
            "error.rs": "use crate::pool;",
            "pool.rs": "use crate::counters;"
          }
        : {}),
      [file]: text
    })

    const violations = rule(bad)

    assert.strictEqual(violations.length, 1, violations.join("\n"))
    assert.isTrue(violations[0]!.startsWith(`native-host/io-daemon/${expected}`), violations[0])
  })

  it("allows tests to use modules that use theirs", () => {
    const tested = houseOf({
      ...others,
      "disk/root.rs": "#[cfg(test)]\n#[allow(dead_code)]\npub(super) mod tests {\n    use crate::disk::set::Set;\n}",
      "disk/set.rs": "use super::root::Root;"
    })

    const violations = RustArchitecture.cycles(tested)

    assert.deepStrictEqual(violations, [])
  })
})
