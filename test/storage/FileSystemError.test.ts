import { assert, describe, it } from "@effect/vitest"
import { isExhausted, reasonOf } from "../../src/storage/provider/node/FileSystemError.ts"

const told = (code: string | undefined, access: "read" | "write" = "write") => {
  const reason = reasonOf({ code, message: "what the system said" }, "d/f", access)
  return `${reason._tag}: ${reason.message}`
}

describe("FileSystemError", () => {
  it.each([
    ["ENOSPC", "DiskFull: the disk is full: d/f cannot grow"],
    ["EDQUOT", "DiskFull: the disk is full: d/f cannot grow"],
    ["EFBIG", "StorageRefused: d/f: the file is larger than this file system or the process allows"],
    ["EACCES", "StorageRefused: d/f: permission denied"],
    ["EPERM", "StorageRefused: d/f: operation not permitted"],
    ["EROFS", "StorageRefused: d/f: the file system is read-only"],
    ["ENOTDIR", "StorageRefused: d/f: a file is in the way of a folder"],
    ["EISDIR", "StorageRefused: d/f: a folder is in the way of a file"],
    ["ELOOP", "StorageRefused: d/f: a symbolic link is in the way of a file"],
    ["ENAMETOOLONG", "StorageRefused: d/f: the name is too long for this file system"],
    ["EIO", "StorageUnavailable: d/f: the disk reported an input/output error"],
    ["EMFILE", "StorageUnavailable: d/f: too many files are open in this process"],
    ["ENFILE", "StorageUnavailable: d/f: too many files are open on this machine"],
    ["ENOENT", "StorageUnavailable: d/f: its folder vanished"],
    ["EREMOTEIO", "StorageUnavailable: d/f: EREMOTEIO"],
    [undefined, "StorageUnavailable: d/f: what the system said"]
  ])("fault 49: a write that ends with %s tells %s", (code, expected) => {
    assert.strictEqual(told(code), expected)
  })

  it("reports to a reader that a missing file stores nothing", () => {
    assert.strictEqual(told("ENOENT", "read"), "NotStored: d/f does not hold the bytes asked for")
  })

  it("knows which errors pass when another file is closed", () => {
    const codes = ["EMFILE", "ENFILE", "ENOSPC", "EIO", undefined]

    const exhausted = codes.filter((code) => isExhausted({ code, message: "" }))

    assert.deepStrictEqual(exhausted, ["EMFILE", "ENFILE"])
  })
})
