import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as ReservedName from "../../src/metainfo/ReservedName.ts"
import * as SafePath from "../../src/metainfo/SafePath.ts"
import vectors from "../fixtures/reserved-names.json" with { type: "json" }

const utf8Length = (text: string) => new TextEncoder().encode(text).length

const namesOf = (paths: ReadonlyArray<ReadonlyArray<string>>, platform?: SafePath.Platform) =>
  Result.getOrThrow(SafePath.sanitize(paths, { platform }))

const sanitize = (paths: ReadonlyArray<ReadonlyArray<string>>, platform?: SafePath.Platform) =>
  namesOf(paths, platform).map(({ path }) => path)

/** The names on a file system that ignores case and composition, and holds what Windows holds. */
const portable = (paths: ReadonlyArray<ReadonlyArray<string>>) =>
  namesOf(paths).map(({ path, portable = path }) => portable)

const refusal = (paths: ReadonlyArray<ReadonlyArray<string>>) => {
  const result = SafePath.sanitize(paths)
  assert.isTrue(Result.isFailure(result))
  return Result.isFailure(result) ? result.failure.message : ""
}

/** Pieces of names that hurt. */
const shard = fc.constantFrom(
  ..."a A a:b a_b .piecewise é E\u0301 É ß SS ς σ Σ i İ ı . .. ... / \\ : * con NUL com1 .txt .tar.gz 日本 \u202e \u200b \u200d \u200c \u0000 \u0007".split(
    " "
  ),
  " ",
  "\u2028",
  "\u009b",
  "\ud800",
  "👩‍👧",
  "x".repeat(120),
  "語".repeat(90)
)
const hostileName = fc.oneof(
  fc.array(shard, { maxLength: 5 }).map((shards) => shards.join("")),
  fc.string({ unit: "binary", maxLength: 8 })
)
const hostilePaths = fc.array(fc.array(hostileName, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 12 })
const platform = fc.constantFrom<SafePath.Platform>("posix", "windows")

describe("SafePath", () => {
  it("fault 12: components that climb or split stay below the root", () => {
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, ReadonlyArray<string>]> = [
      [
        ["t", "..", "..", "etc", "passwd"],
        ["t", "etc", "passwd"]
      ],
      [
        ["t", ".", "a"],
        ["t", "a"]
      ],
      [
        ["t", "", "a"],
        ["t", "_", "a"]
      ],
      [
        ["t", "/etc/passwd"],
        ["t", "etcpasswd"]
      ],
      [
        ["t", "a/b"],
        ["t", "ab"]
      ],
      [
        ["t", "a\\..\\b"],
        ["t", "a..b"]
      ],
      [
        ["t", "\\\\server\\share"],
        ["t", "servershare"]
      ],
      [
        ["t", "./."],
        ["t", "_"]
      ],
      [
        ["t", ".."],
        ["t", "_"]
      ],
      [
        ["..", "a"],
        ["_", "a"]
      ],
      [[".."], ["_"]],
      [["/"], ["_"]],
      [[""], ["_"]]
    ]

    for (const [given, safe] of cases) assert.deepStrictEqual(sanitize([given]), [safe], given.join(" | "))
  })

  it("fault 13: names with dots in them are fine names", () => {
    const paths = [
      ["t", "a..b.txt"],
      ["t", "..."],
      ["t", ".hidden"],
      ["t", "..a"],
      ["t", "a."]
    ]

    assert.deepStrictEqual(sanitize(paths), paths)
  })

  it("keeps names that other clients keep, character for character", () => {
    const paths = [
      "#1",
      "what?",
      "a:b",
      " blanks ",
      "100%",
      "наука",
      "日本語",
      "e\u0301",
      "é2",
      "CON",
      "👩‍👧",
      "می‌خواهم",
      'a*b|c"<>'
    ].map((name) => ["t", name])

    assert.deepStrictEqual(sanitize(paths), paths)
  })

  it("fault 14: Windows' rules rename what Windows cannot hold", () => {
    const names = ["C:", "CON", "nul.txt", "Com1.tar.gz", "LPT¹", "aux ", "a. .", "file:stream", "a?b", "..."]

    const safe = sanitize(
      names.map((name) => ["t", name, "x"]),
      "windows"
    ).map((components) => components.slice(1, -1))

    assert.deepStrictEqual(safe, [
      ["C_"],
      ["_CON"],
      ["_nul.txt"],
      ["_Com1.tar.gz"],
      ["_LPT¹"],
      ["_aux"],
      ["a"],
      ["file_stream"],
      ["a_b"],
      []
    ])
    assert.deepStrictEqual(
      sanitize(
        [
          ["t", "console"],
          ["t", "com10"],
          ["t", "null.txt"]
        ],
        "windows"
      ),
      [
        ["t", "console"],
        ["t", "com10"],
        ["t", "null.txt"]
      ]
    )
  })

  it("fault 14: a device name that cutting lays bare is renamed too", () => {
    assert.strictEqual(SafePath.component(`CON${" ".repeat(300)}x`, "windows"), "_CON")
    assert.strictEqual(SafePath.component(`${" ".repeat(300)}x`, "windows"), undefined)
  })

  it("fault 15: bytes that are not UTF-8 become marks, overlong forms included", () => {
    assert.strictEqual(SafePath.fromBytes(Uint8Array.of(0x61, 0xff, 0x62)), "a_b")
    assert.notInclude(SafePath.fromBytes(Uint8Array.of(0x2e, 0xc0, 0xaf, 0x2e)), "/")
    assert.strictEqual(SafePath.fromBytes(new TextEncoder().encode("a\ufffdb")), "a\ufffdb")
  })

  it("fault 15: control characters are replaced, marks without width dropped", () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["a\0b", "a_b"],
      ["a\nb\x7f\x1b[2J", "a_b__[2J"],
      ["a\u009bb\u2028", "a_b_"],
      ["photo\u202egpj.exe", "photogpj.exe"],
      ["\u2066a\u2069\u200e\u200f\u061c", "a"],
      ["a\u200bb\ufeffc\u2060", "abc"],
      ["a\u200db", "ab"],
      ["\u200d\u200c", "_"],
      ["\u202e..\u202e", "_"],
      // Dropping the mark must not make U+E0041 of the two surrogates, nor U+10000 of those beside a slash.
      ["\udb40\u200e\udc41", "__"],
      ["\ud800/\udc00", "__"]
    ]

    for (const [given, safe] of cases) assert.deepStrictEqual(sanitize([["t", given]]), [["t", safe]])
  })

  it("fault 15: folding makes no character of two lone surrogates", () => {
    assert.strictEqual(SafePath.fold("\ud801\u034f\udc28"), "\ufffd\ufffd")
  })

  it("fault 16: a component over 255 bytes loses a part of its stem, not its extension", () => {
    const cut = SafePath.component(`${"語".repeat(100)}.mkv`)!
    const exact = `${"a".repeat(251)}.mkv`

    assert.strictEqual(cut, `${"語".repeat(83)}.mkv`)
    assert.isAtMost(utf8Length(cut), 255)
    assert.strictEqual(SafePath.component(exact), exact)
    assert.strictEqual(SafePath.component(`a${exact}`), exact)
    assert.strictEqual(SafePath.component("a".repeat(256)), "a".repeat(255))
    assert.strictEqual(utf8Length(SafePath.component(`x.${"y".repeat(300)}`)!), 255)
    assert.strictEqual(SafePath.component("👩".repeat(70)), "👩".repeat(63))
  })

  it("fault 16: a path over the limit is refused with its size", () => {
    const long = (bytes: number) => [
      [...Array.from({ length: 15 }, () => "a".repeat(255)), "b".repeat(bytes - 15 * 256)]
    ]

    assert.isTrue(Result.isFailure(SafePath.sanitize(long(3_841 + 256).map((path) => ["t", ...path]))))
    assert.match(refusal([Array.from({ length: 16 }, () => "a".repeat(255))]), /path has 4095 bytes/)
    assert.isTrue(Result.isSuccess(SafePath.sanitize([Array.from({ length: 15 }, () => "a".repeat(255))])))
  })

  it("fault 17: equal paths get a number before their extension, the first keeps its name", () => {
    const safe = sanitize([
      ["t", "a.txt"],
      ["t", "a.txt"],
      ["t", "a.1.txt"],
      ["t", "a.txt"],
      ["t", ".b"],
      ["t", ".b"]
    ])

    assert.deepStrictEqual(
      safe.map((path) => path[1]),
      ["a.txt", "a.2.txt", "a.1.txt", "a.3.txt", ".b", ".b.1"]
    )
  })

  it("fault 17: paths that differ by case or composition only keep their names, and have portable ones", () => {
    const paths = [
      ["t", "Read.me"],
      ["t", "READ.ME"],
      ["t", "é"],
      ["t", "e\u0301"],
      ["t", "D", "x"],
      ["T", "d", "X"],
      ["t", "straße"],
      ["t", "STRASSE"],
      ["t", "soft\u00adhyphen"],
      ["t", "softhyphen"]
    ]

    assert.deepStrictEqual(sanitize(paths), paths)
    assert.deepStrictEqual(
      portable(paths).map((path) => path.at(-1)),
      [
        ...["Read.me", "READ.1.ME", "é", "e\u0301.1", "x", "X.1", "straße", "STRASSE.1"],
        ...["soft\u00adhyphen", "softhyphen.1"]
      ]
    )
    assert.deepStrictEqual(sanitize(paths, "windows"), portable(paths))
  })

  it("makes portable names for what Windows cannot hold, which are no other file's names", () => {
    assert.deepStrictEqual(
      namesOf([
        ["t", "a:b"],
        ["t", "a_b"],
        ["t", "CON"],
        ["t", "dots.."],
        ["t", "plain"]
      ]),
      [
        { path: ["t", "a:b"], portable: ["t", "a_b.1"] },
        { path: ["t", "a_b"] },
        { path: ["t", "CON"], portable: ["t", "_CON"] },
        { path: ["t", "dots.."], portable: ["t", "dots"] },
        { path: ["t", "plain"] }
      ]
    )
  })

  it("keeps the original of a name that was changed, unless it may mean another file", () => {
    assert.deepStrictEqual(
      namesOf([
        ["t", "a\\b"],
        ["t", "Icon\r"],
        ["t", "x\u200by"],
        ["t", "xy"],
        ["t", "..", "c\\d"],
        ["t", "a".repeat(256)]
      ]),
      [
        { path: ["t", "ab"], original: ["t", "a\\b"] },
        { path: ["t", "Icon_"], original: ["t", "Icon\r"] },
        { path: ["t", "xy"], original: ["t", "x\u200by"] },
        { path: ["t", "xy.1"] },
        { path: ["t", "cd"] },
        { path: ["t", "a".repeat(255)] }
      ]
    )
  })

  it("renames files if more differ by case than are worth comparing", () => {
    const cases = Array.from({ length: 128 }, (_, bits) => [
      "t",
      [..."abcdefg"].map((letter, index) => (bits & (1 << index) ? letter.toUpperCase() : letter)).join("")
    ])

    const names = namesOf(cases)

    assert.strictEqual(names.filter(({ portable }) => portable !== undefined).length, SafePath.maxAlike - 1)
    assert.deepStrictEqual(names[127], { path: ["t", "ABCDEFG.127"] })
  })

  it("renames a file if more folders differ from it by case than are worth comparing", () => {
    const spelling = (bits: number) =>
      [..."abcdefghijkl"].map((letter, index) => (bits & (1 << index) ? letter.toUpperCase() : letter)).join("")
    const inFolders = (count: number) => Array.from({ length: count }, (_, bits) => ["t", spelling(bits), `${bits}`])

    const few = namesOf([...inFolders(SafePath.maxAlike - 1), ["t", spelling(4_095)]]).at(-1)
    const many = namesOf([...inFolders(SafePath.maxAlike), ["t", spelling(4_095)]]).at(-1)

    assert.deepStrictEqual(few, { path: ["t", "ABCDEFGHIJKL"], portable: ["t", "ABCDEFGHIJKL.1"] })
    assert.deepStrictEqual(many, { path: ["t", "ABCDEFGHIJKL.1"] })
  })

  it("puts a mark before the name of the folder that is ours, at any depth and however it is spelled", () => {
    for (const name of vectors.reserved) {
      for (const path of [[name], [name, "a"], ["t", name], ["t", name, "resume"]]) {
        for (const { original, path: safe, portable = safe } of [...namesOf([path]), ...namesOf([path], "windows")]) {
          assert.isFalse([...safe, ...portable].some(ReservedName.is), JSON.stringify(path))
          assert.isUndefined(original)
        }
      }
    }
    for (const name of vectors.free) assert.isFalse(SafePath.component(name)?.startsWith("__"), name)
    assert.deepStrictEqual(sanitize([[".piecewise", "x.resume"]]), [["_.piecewise", "x.resume"]])
    assert.strictEqual(SafePath.component("PIECEW~1"), "_PIECEW~1")
    assert.strictEqual(SafePath.component("piecewise"), "piecewise")
  })

  it("knows the folder that is ours behind what is dropped and what is cut", () => {
    assert.strictEqual(SafePath.component(".piece\\wise"), "_.piecewise")
    assert.strictEqual(SafePath.component("\u202e.piecewise"), "_.piecewise")
    assert.strictEqual(SafePath.component(`.piecewise${" ".repeat(300)}x`), `_.piecewise${" ".repeat(244)}`)
    assert.strictEqual(SafePath.component(".piecewise...", "windows"), "_.piecewise")
  })

  it("fault 17: paths that become equal by being made safe are distinguished", () => {
    assert.deepStrictEqual(
      sanitize([
        ["t", "a/b"],
        ["t", "ab"],
        ["t", "x", "..", "ab"]
      ]),
      [
        ["t", "ab"],
        ["t", "ab.1"],
        ["t", "x", "ab"]
      ]
    )
  })

  it("fault 17: 100,000 duplicates are refused", () => {
    assert.match(
      refusal(Array.from({ length: 100_000 }, () => ["t", "same"])),
      /more than 4096 files have the same path/
    )
  })

  it("fault 17: names placed in the way of renaming do not cost more than the limit", () => {
    const inTheWay = Array.from({ length: 5_000 }, (_, index) => ["t", `same.${index}`])

    assert.match(refusal([["t", "same"], ["t", "same"], ...inTheWay]), /more than 4096/)
  })

  it("fault 18: a file named like a folder of another is renamed", () => {
    const paths = [
      ["t", "a"],
      ["t", "a", "b"],
      ["t", "A", "b", "c"]
    ]

    assert.deepStrictEqual(portable(paths), [
      ["t", "a.1"],
      ["t", "a", "b.1"],
      ["t", "A", "b", "c"]
    ])
    assert.deepStrictEqual(sanitize(paths), [
      ["t", "a.1"],
      ["t", "a", "b"],
      ["t", "A", "b", "c"]
    ])
  })

  it("fault 20: 1,000 folders inside each other are refused", () => {
    assert.match(refusal([Array.from({ length: 1_000 }, () => "d")]), /path has 1000 components, more than the 101/)
    assert.isTrue(Result.isSuccess(SafePath.sanitize([Array.from({ length: SafePath.maxDepth }, () => "d")])))
    assert.isTrue(Result.isFailure(SafePath.sanitize([Array.from({ length: SafePath.maxDepth + 1 }, () => "d")])))
  })

  it("every safe path consists of plain names, whatever was given", () => {
    fc.assert(
      fc.property(hostilePaths, platform, (paths, platform) => {
        for (const path of sanitize(paths, platform)) {
          assert.isAtLeast(path.length, 1)
          for (const name of path) {
            assert.notInclude(["", ".", ".."], name)
            // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
            assert.notMatch(name, /[/\\\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/)
            assert.isTrue(name.isWellFormed())
            assert.isAtMost(utf8Length(name), 255)
            if (platform === "windows") assert.notMatch(name, /[<>:"|?*]|[. ]$|^(con|nul|com1)(\.|$)/i)
          }
        }
      }),
      { numRuns: 500 }
    )
  })

  it("no two files are equal, nor is one a folder of another", () => {
    fc.assert(
      fc.property(hostilePaths, (paths) => {
        const exact = (path: ReadonlyArray<string>) => path.join("/")
        const folded = (path: ReadonlyArray<string>) => exact(path).normalize("NFC").toLowerCase().normalize("NFC")
        for (const [safe, plain] of [
          [sanitize(paths), exact],
          [portable(paths), folded],
          [sanitize(paths, "windows"), folded]
        ] as const) {
          const files = new Set(safe.map(plain))

          assert.strictEqual(files.size, paths.length)
          for (const path of safe) {
            for (let depth = 1; depth < path.length; depth++) assert.isFalse(files.has(plain(path.slice(0, depth))))
          }
        }
      }),
      { numRuns: 500 }
    )
  })

  it("no name of a file is one of another file's names", () => {
    fc.assert(
      fc.property(hostilePaths, (paths) => {
        const owners = new Map<string, number>()
        for (const [index, { original, path, portable }] of namesOf(paths).entries()) {
          for (const name of [path, portable, original]) {
            if (name === undefined) continue
            assert.include([undefined, index], owners.get(name.join("/")), JSON.stringify(paths))
            owners.set(name.join("/"), index)
          }
        }
      }),
      { numRuns: 1_000 }
    )
  })

  it("what is safe stays unchanged", () => {
    fc.assert(
      fc.property(hostilePaths, platform, (paths, platform) => {
        const safe = sanitize(paths, platform)

        assert.deepStrictEqual(sanitize(safe, platform), safe)
      }),
      { numRuns: 500 }
    )
  })
})
