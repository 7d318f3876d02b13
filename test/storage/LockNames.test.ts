import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as LockNames from "../../src/storage/provider/node/locks/LockNames.ts"
import * as NodeLockSystem from "../../src/storage/provider/node/locks/NodeLockSystem.ts"

const { sha256 } = NodeLockSystem
const marks = LockNames.marksOf("machine", "boot", sha256)

describe("LockNames", () => {
  // The same values stand in native-host/io-daemon/src/disk/locks/names.rs.
  it.each([
    ["ubuntu.iso", "7c940f3d923c77b0f07b0bc7cbf58a35"],
    ["Straße", "16d96952087774fee069b7585d3991b2"],
    ["e\u0301te\u0301", "b71a8c5276ad255bb2a1dbb5ccb387f8"],
    ["日本 ½.txt", "c7fded399c611b229e7cc9e62d49b7c5"],
    ["ΟΔΟΣ\u200b. ", "3a2c9e1f2803431e23ed51a84e18ba04"],
    ["ǅ\u0345ı\u{e0100}", "936a8945be81a1e0fa195cb156578712"]
  ])("makes the key that the io-daemon makes of %j", (name, expected) => {
    assert.strictEqual(LockNames.keyOf(name, sha256), expected)
  })

  it("makes the marks that the io-daemon makes", () => {
    assert.deepStrictEqual(marks, { machine: "14037f2a4aa2", boot: "253073e5e58d" })
  })

  it.each([
    ["a", "A"],
    ["\u00e9", "e\u0301"],
    ["Straße", "STRASSE"],
    ["ΟΔΟΣ", "οδοσ"],
    ["a\u200db", "ab"],
    ["name. .", "name"],
    ["folder./x", "Folder/X"],
    ["\u1fb3\u0301", "\u0391\u0301\u0345"]
  ])("folds %j and %j to one name", (one, other) => {
    assert.strictEqual(LockNames.fold(one), LockNames.fold(other))
  })

  it.each([
    ["a", "b"],
    ["日本", "中国"],
    ["a.b", "ab"],
    ["a b", "ab"]
  ])("tells %j and %j apart", (one, other) => {
    assert.notStrictEqual(LockNames.fold(one), LockNames.fold(other))
  })

  it("makes no character of two lone surrogates", () => {
    assert.strictEqual(LockNames.fold("\ud801\u034f\udc28"), "\ufffd\ufffd")
  })

  it("folds a folded name, another case and another composition of any name to the same", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (name) => {
        const folded = LockNames.fold(name)

        for (const same of [
          folded,
          name.toUpperCase(),
          name.toLowerCase(),
          name.normalize("NFC"),
          name.normalize("NFD")
        ]) {
          assert.strictEqual(LockNames.fold(same), folded, JSON.stringify(same))
        }
      })
    )
  })

  it("parses the names it makes, and no others", () => {
    const id = LockNames.idOf(marks, "0123456789abcdef")
    const key = LockNames.keyOf("x", sha256)

    assert.deepStrictEqual(LockNames.parse(`${key}.${id}`), { _tag: "Entry", key, id })
    assert.deepStrictEqual(LockNames.parse(`${id}.sock`), { _tag: "Beacon", id })
    assert.deepStrictEqual(LockNames.parse(`${id}.new`), { _tag: "NewBeacon", id })
    for (const other of [key, id, `${key}.${id}.sock`, `${key}.${id}x`, `${id}xsock`, "a.resume", ""]) {
      assert.isUndefined(LockNames.parse(other), other)
    }
  })

  it.each([
    ["the same start of the machine", "machine", "boot", false],
    ["a container of the same kernel", "container", "boot", false],
    ["the same machine before it was started again", "machine", "sooner", false],
    ["another machine", "another", "other boot", true],
    ["nobody knows what", "", "", true]
  ])("a beacon of %s", (_, machine, boot, isForeign) => {
    const id = LockNames.idOf(LockNames.marksOf(machine, boot, sha256), "0".repeat(16))

    assert.strictEqual(LockNames.isForeign(id, marks), isForeign)
    assert.isTrue(LockNames.isForeign(id, LockNames.marksOf("", "", sha256)))
  })
})
