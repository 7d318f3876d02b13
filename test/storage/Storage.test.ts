import { assert, describe, it } from "@effect/vitest"
import { DiskFull, NotStored, StorageError, StorageRefused, StorageUnavailable } from "../../src/storage/Storage.ts"

const refused = new StorageRefused({ path: "d/a", why: "permission denied" })
const full = new DiskFull({ path: "d/b" })
const away = new StorageUnavailable({ path: "d/c", why: "the disk is gone" })
const absent = new NotStored({ path: "d/d" })

describe("StorageError", () => {
  it("says in one sentence what went wrong, and in how many other files", () => {
    assert.strictEqual(StorageError.of("write", [full]).message, "the disk is full: d/b cannot grow")
    assert.strictEqual(
      StorageError.of("write", [full, refused]).message,
      "d/a: permission denied, and another file failed as well"
    )
    assert.strictEqual(
      StorageError.of("write", [away, full, absent]).message,
      "the disk is full: d/b cannot grow, and 2 other files failed as well"
    )
  })

  it("has the reason that lasts longest, and keeps the others", () => {
    const error = StorageError.of("read", [absent, away, full, refused])

    assert.strictEqual(error.reason, refused)
    assert.deepStrictEqual(error.others, [full, away, absent])
  })
})
