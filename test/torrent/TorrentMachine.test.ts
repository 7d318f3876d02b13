import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { StorageError, StorageUnavailable } from "../../src/storage/Storage.ts"
import { ContentExists } from "../../src/torrent/ContentExists.ts"
import * as TorrentMachine from "../../src/torrent/TorrentMachine.ts"
import { TorrentDefect } from "../../src/torrent/TorrentStatus.ts"

const errorOf = (path: string) => StorageError.of("write", [new StorageUnavailable({ path, why: "it is broken" })])
const writeError = errorOf("write")
const flushError = errorOf("flush")
const finishError = errorOf("finish")
const foreign = new ContentExists({
  files: [{ path: "known", totalPieces: 1, verifiedPieces: 0, excessBytes: 0, isOther: false }]
})
const piece = 3 as PieceIndex

const facts = {
  checking: { _tag: "Checked", event: { _tag: "Checking", checkedPieces: 0, totalPieces: 4 } },
  missing: { _tag: "Checked", event: { _tag: "FilesMissing", paths: ["a"], missingFiles: 1 } },
  started: { _tag: "Started", event: { _tag: "Started", storedPieces: 0, missingPieces: 4, totalPieces: 4 } },
  downloading: { _tag: "Moved", isStored: false },
  stored: { _tag: "Moved", isStored: true },
  flushing: { _tag: "Flushing" },
  lacking: { _tag: "FilesLacking" },
  writeFailed: { _tag: "WriteFailed", piece, error: writeError },
  writeRecovered: { _tag: "Recovered", work: "write" },
  flushFailed: { _tag: "FlushFailed", error: flushError },
  flushRecovered: { _tag: "Recovered", work: "flush" },
  finishFailed: { _tag: "FinishFailed", error: finishError },
  finished: { _tag: "Finished", standing: { isStored: true, isDirty: false, isPaused: false }, at: 7 },
  finishedDirty: { _tag: "Finished", standing: { isStored: true, isDirty: true, isPaused: false }, at: 7 },
  finishedLate: { _tag: "Finished", standing: { isStored: false, isDirty: false, isPaused: false }, at: 7 },
  finishedPaused: { _tag: "Finished", standing: { isStored: true, isDirty: false, isPaused: true }, at: 7 },
  goal: { _tag: "GoalReached" },
  dismissed: { _tag: "Dismissed", reached: "ratio" },
  gone: { _tag: "AllGone" },
  foreign: { _tag: "Foreign", error: foreign },
  restarted: { _tag: "Restarted" },
  fetched: { _tag: "Fetched", event: { _tag: "MetadataFetched", name: "known", totalBytes: 4 } },
  pauseAsked: { _tag: "PauseAsked" },
  rested: { _tag: "Rested", at: 9 },
  resumeAsked: { _tag: "ResumeAsked", at: 12 },
  recheckAsked: { _tag: "RecheckAsked" },
  stopped: { _tag: "Stopped" },
  broke: { _tag: "Broke", error: writeError }
} satisfies Record<string, TorrentMachine.Fact>

type Name = keyof typeof facts

const nameOf = (action: TorrentMachine.Action) => (action._tag === "Report" ? action.event._tag : action._tag)

/** Returns the actions after each fact, and the state at that time. */
const live = (names: ReadonlyArray<Name>, options: TorrentMachine.Options = { seeds: false }) => {
  let machine = TorrentMachine.make(options)
  const done = names.map((name) => {
    const step = TorrentMachine.step(machine, facts[name])
    machine = step.machine
    return step.actions.map(nameOf).join(" ")
  })
  return { done, machine, state: TorrentMachine.stateOf(machine)._tag }
}

describe("TorrentMachine", () => {
  it("goes from the check to completion, flushes before it, and reports each once", () => {
    const { done, state } = live([
      "checking",
      "started",
      "downloading",
      "downloading",
      "stored",
      "flushing",
      "flushing",
      "finished",
      "stored"
    ])

    assert.deepStrictEqual(done, ["Checking", "Started", "", "", "Finish", "Flushing", "", "Completed Complete", ""])
    assert.strictEqual(state, "Complete")
  })

  it("completes without reporting a flush if nothing has to be flushed", () => {
    const { done } = live(["started", "stored", "finished"])

    assert.deepStrictEqual(done, ["Started", "Finish", "Completed Complete"])
  })

  it("reports a flush each time that everything is stored, but not while it downloads or fails", () => {
    const flushings = (names: ReadonlyArray<Name>) =>
      live(names).done.filter((reported) => reported === "Flushing").length

    assert.strictEqual(flushings(["started", "flushing", "stored", "flushing", "finishedDirty", "flushing"]), 1)
    assert.strictEqual(flushings(["started", "stored", "flushing", "downloading", "flushing", "stored", "flushing"]), 2)
    assert.strictEqual(flushings(["started", "stored", "writeFailed", "flushing"]), 0)
    assert.strictEqual(flushings(["started", "stored", "finished", "flushing"]), 0)
  })

  it("waits for files that are gone", () => {
    assert.strictEqual(live(["missing"]).state, "FilesMissing")
    assert.strictEqual(live(["missing", "checking"]).state, "Checking")
    assert.strictEqual(live(["missing", "started"]).state, "Downloading")
  })

  it("is not complete while something is dirty, and finishes again", () => {
    const { done, state } = live(["started", "stored", "finishedDirty", "finishedDirty"])

    assert.deepStrictEqual(done.slice(2), ["Finish", "Finish"])
    assert.strictEqual(state, "Flushing")
  })

  it("is not complete if a piece was lost while it was flushed", () => {
    const { done, state } = live(["started", "stored", "downloading", "finished", "finishedLate"])

    assert.deepStrictEqual(done.slice(2, 3), [""])
    assert.strictEqual(live(["started", "stored", "downloading", "finishedLate"]).state, "Downloading")
    assert.deepStrictEqual([done.at(-1), state], ["", "Complete"])
  })

  it("downloads again if a piece is lost or files are lacking, and completes again", () => {
    const done = live(["started", "stored", "finished", "downloading", "stored", "flushing", "finished"])
    const lacking = live(["started", "stored", "finished", "lacking", "stored", "finished"])

    assert.deepStrictEqual(done.done.slice(3), ["", "Finish", "Flushing", "Completed Complete"])
    assert.deepStrictEqual(lacking.done.slice(3), ["", "Finish", "Completed Complete"])
  })

  it("reports a failure once until it ends, and shows failing writes before other failures", () => {
    const { done } = live(["started", "writeFailed", "writeFailed", "flushFailed", "writeRecovered", "flushRecovered"])
    const failing = live(["started", "finishFailed", "flushFailed", "writeFailed"])
    const { machine } = failing

    assert.deepStrictEqual(done.slice(1), ["StorageFailed", "", "FlushFailed", "StorageRecovered", "StorageRecovered"])
    assert.strictEqual(failing.state, "StorageFailing")
    assert.deepStrictEqual(TorrentMachine.stateOf(machine), { _tag: "StorageFailing", error: writeError })
    const flushing = live(["started", "finishFailed", "flushFailed", "writeFailed", "writeRecovered"])
    assert.deepStrictEqual(TorrentMachine.stateOf(flushing.machine), { _tag: "StorageFailing", error: flushError })
  })

  it("reports the recovery of a failed last look before completion", () => {
    const { done } = live(["started", "stored", "finishFailed", "finishFailed", "finished"])

    assert.deepStrictEqual(done.slice(2), ["FlushFailed", "", "StorageRecovered Completed Complete"])
  })

  it("completes only after the end of a failure", () => {
    const { done } = live(["started", "writeFailed", "stored", "finished", "writeRecovered", "finished"])

    assert.deepStrictEqual(done.slice(2), ["Finish", "", "StorageRecovered Finish", "Completed Complete"])
  })

  it("completes if the piece that cannot be written is not wanted any more", () => {
    const { done, state } = live(["started", "writeFailed", "stored", "finishedPaused"])

    assert.deepStrictEqual([done.at(-1), state], ["Completed Complete", "StorageFailing"])
  })

  it("keeps its state if its parts are taken apart because it stops", () => {
    assert.strictEqual(live(["started", "stored", "finished", "restarted"]).state, "Complete")
    assert.strictEqual(live(["started", "foreign", "restarted"]).state, "Downloading")
  })

  it("starts again once if all files are gone, and forgets what failed", () => {
    const { done, machine, state } = live(["started", "writeFailed", "gone", "gone", "stored", "restarted", "missing"])

    assert.deepStrictEqual(done.slice(2), ["Restart", "", "", "", "FilesMissing"])
    assert.deepStrictEqual(machine.failing, {})
    assert.strictEqual(state, "FilesMissing")
  })

  it("uploads until a goal is reached, and again after more was wanted and stored", () => {
    const seeds = { seeds: true }

    assert.isTrue(live(["started", "stored", "finished"], seeds).machine.isSeeding)
    assert.isFalse(live(["started", "stored", "finished", "goal"], seeds).machine.isSeeding)
    assert.isFalse(live(["started", "stored", "finished", "goal", "gone", "restarted"], seeds).machine.isSeeding)
    assert.isTrue(live(["started", "stored", "finished", "goal", "downloading"], seeds).machine.isSeeding)
    assert.isFalse(live(["started", "downloading"]).machine.isSeeding)
    const { done } = live(["started", "stored", "finished", "goal", "dismissed"], seeds)
    assert.deepStrictEqual(done.slice(-2), ["", "SeedingEnded"], "peers are disconnected first")
  })

  it("ends if a file is somebody else's, and then stays failed", () => {
    const defect = new TorrentDefect({ cause: new Error("a bug") })
    const failed = TorrentMachine.step(TorrentMachine.make({ seeds: false }), { _tag: "Broke", error: defect })

    assert.deepStrictEqual(live(["started", "foreign"]).done, ["Started", "End"])
    assert.deepStrictEqual(TorrentMachine.stateOf(failed.machine), { _tag: "Failed", error: defect })
    assert.deepStrictEqual(live(["started", "broke", "started", "stored", "finished", "broke"]).done, [
      "Started",
      "Failed",
      "",
      "",
      "",
      ""
    ])
  })

  it("fetches the metadata of a magnet link before anything else", () => {
    const fetches = { seeds: false, fetches: true }

    assert.strictEqual(live([], fetches).state, "FetchingMetadata")
    assert.strictEqual(live(["started", "stored", "checking"], fetches).state, "FetchingMetadata")
    assert.deepStrictEqual(live(["fetched", "fetched", "started"], fetches).done, ["MetadataFetched", "", "Started"])
    assert.strictEqual(live(["broke"], fetches).state, "Failed")
    assert.strictEqual(live(["pauseAsked", "rested"], fetches).state, "Paused")
    assert.deepStrictEqual(live(["pauseAsked", "rested", "resumeAsked"], fetches).done, [
      "Turn",
      "Paused",
      "Resumed Turn"
    ])
  })

  it("is paused once it rests, wants no peers from the first moment on, and goes on where it was", () => {
    const asked = live(["started", "downloading", "pauseAsked"])
    const rested = live(["started", "downloading", "pauseAsked", "pauseAsked", "rested", "rested"])
    const again = live(["started", "downloading", "pauseAsked", "rested", "resumeAsked", "resumeAsked"])

    assert.deepStrictEqual([asked.state, TorrentMachine.wantsPeers(asked.machine)], ["Downloading", false])
    assert.deepStrictEqual(rested.done.slice(2), ["Turn", "", "Paused", ""])
    assert.strictEqual(rested.state, "Paused")
    assert.deepStrictEqual(again.done.slice(4), ["Resumed Turn", ""])
    assert.deepStrictEqual([again.state, TorrentMachine.wantsPeers(again.machine)], ["Downloading", true])
  })

  it("says nothing of a pause that was taken back before it rested", () => {
    const { done, state } = live(["started", "pauseAsked", "resumeAsked", "rested"])

    assert.deepStrictEqual([...done.slice(1), state], ["Turn", "Turn", "", "Downloading"])
  })

  it("ends the failure of a write if it is resumed before it rested, because the piece is not kept", () => {
    const { done, machine, state } = live(["started", "writeFailed", "pauseAsked", "resumeAsked", "rested"])
    const stored = live(["started", "writeFailed", "stored", "pauseAsked", "resumeAsked", "rested", "finished"])

    assert.deepStrictEqual([...done.slice(2), state], ["Turn", "Turn", "StorageRecovered", "Downloading"])
    assert.deepStrictEqual(machine.failing, {})
    assert.deepStrictEqual(stored.done.slice(-2), ["StorageRecovered Finish", "Completed Complete"])
  })

  it("goes on to check and to complete while it is paused, and shows failing flushes", () => {
    const complete = live(["pauseAsked", "checking", "started", "rested", "stored", "finished"])

    assert.strictEqual(live(["pauseAsked", "checking"]).state, "Checking")
    assert.deepStrictEqual([complete.done.at(-1), complete.state], ["Completed Complete", "Paused"])
    assert.strictEqual(live(["started", "pauseAsked", "rested", "flushFailed"]).state, "StorageFailing")
    assert.strictEqual(live(["started", "writeFailed", "pauseAsked", "rested"]).state, "Paused")
    assert.strictEqual(live(["started", "writeFailed", "pauseAsked", "rested", "resumeAsked"]).state, "Downloading")
  })

  it("does not count the time of a rest as time since it is complete", () => {
    const { machine } = live(["started", "stored", "finished", "pauseAsked", "rested", "resumeAsked"], { seeds: true })

    // Complete at 7, and at rest from 9 to 12.
    assert.strictEqual(machine.completedAt, 10)
  })

  it("checks again if it is asked to, and stays paused", () => {
    const { done, state } = live(["started", "stored", "finished", "recheckAsked", "recheckAsked", "restarted"])
    const paused = live(["started", "pauseAsked", "rested", "recheckAsked", "restarted", "checking", "started"])

    assert.deepStrictEqual(done.slice(3), ["Restart", "", ""])
    assert.strictEqual(state, "Checking")
    assert.deepStrictEqual([paused.state, paused.machine.isPaused], ["Paused", true])
  })

  it("shows that it was stopped, and nothing changes that", () => {
    const stopped = live(["started", "writeFailed", "stopped", "started", "broke", "pauseAsked", "recheckAsked"])

    assert.deepStrictEqual(stopped.done.slice(2), ["", "", "", "", ""])
    assert.strictEqual(stopped.state, "Stopped")
    assert.strictEqual(live(["started", "broke", "stopped"]).state, "Failed")
  })

  const names = Object.keys(facts) as ReadonlyArray<Name>
  // A torrent that never runs would test little.
  const life = fc.array(fc.constantFrom<Name>(...names, "started", "stored", "stored", "finished"), { maxLength: 60 })

  it("law: it reports completion only if everything was stored and clean, and once each time", () => {
    fc.assert(
      fc.property(life, (names) => {
        let machine = TorrentMachine.make({ seeds: true })
        let isComplete = false
        for (const name of names) {
          const { actions, machine: next } = TorrentMachine.step(machine, facts[name])
          const reported = actions.map(nameOf)
          const completes = reported.includes("Completed")
          assert.strictEqual(completes, reported.includes("Complete"))
          if (completes) {
            assert.include(["finished", "finishedPaused"], name)
            assert.isFalse(isComplete)
          }
          machine = next
          const isRunning = machine.phase === "running"
          if (name === "stopped") break
          if (!isRunning || name === "downloading" || name === "lacking") isComplete = false
          else isComplete ||= completes
          const state = TorrentMachine.stateOf(machine)._tag
          assert.strictEqual(machine.completedAt !== undefined && isRunning, isComplete)
          if (state === "Complete") assert.isTrue(isComplete && machine.isStored)
        }
      })
    )
  })

  it("law: for each kind of work a failure and its end are reported once, in turn", () => {
    fc.assert(
      fc.property(life, (names) => {
        let machine = TorrentMachine.make({ seeds: false })
        let failures = 0
        for (const name of names) {
          const { phase } = machine
          const { actions, machine: next } = TorrentMachine.step(machine, facts[name])
          const reported = actions.map(nameOf)
          failures += reported.filter((tag) => tag === "StorageFailed" || tag === "FlushFailed").length
          failures -= reported.filter((tag) => tag === "StorageRecovered").length
          machine = next
          if ((name === "restarted" && phase === "restarting") || name === "stopped") failures = 0
          // A piece that could not be written is given up.
          if (reported.includes("Paused")) failures = Object.keys(machine.failing).length
          assert.strictEqual(Object.values(machine.failing).filter((error) => error !== undefined).length, failures)
          const isFailing = TorrentMachine.stateOf(machine)._tag === "StorageFailing"
          assert.strictEqual(isFailing, machine.phase === "running" && failures > 0)
        }
      })
    )
  })

  it("law: nothing is reported or done after a failure, nor for parts that are being taken apart", () => {
    fc.assert(
      fc.property(life, (names) => {
        let machine = TorrentMachine.make({ seeds: false })
        for (const name of names) {
          const { phase } = machine
          const { actions, machine: next } = TorrentMachine.step(machine, facts[name])
          if (phase === "failed" || phase === "stopped") assert.deepStrictEqual(actions, [])
          const isAsked = name === "pauseAsked" || name === "resumeAsked" || name === "rested"
          if (phase === "restarting") assert.isTrue(actions.length === 0 || name === "broke" || isAsked)
          machine = next
        }
      })
    )
  })

  it("law: pauses and resumptions are reported in turn, and while it is paused no peers are wanted", () => {
    fc.assert(
      fc.property(life, fc.boolean(), (names, isPaused) => {
        let machine = TorrentMachine.make({ seeds: true, isPaused })
        let isAsked = isPaused
        let isResting = false
        for (const name of names) {
          const { actions, machine: next } = TorrentMachine.step(machine, facts[name])
          if (TorrentMachine.hasEnded(machine)) return
          machine = next
          if (name === "pauseAsked") isAsked = true
          if (name === "resumeAsked") isAsked = false
          for (const tag of actions.map(nameOf)) {
            if (tag !== "Paused" && tag !== "Resumed") continue
            assert.strictEqual(isResting, tag === "Resumed")
            isResting = tag === "Paused"
          }
          assert.strictEqual(machine.isPaused, isAsked)
          if (isAsked) assert.isFalse(TorrentMachine.wantsPeers(machine))
          if (TorrentMachine.stateOf(machine)._tag === "Paused") assert.isTrue(isAsked && isResting)
        }
      })
    )
  })

  it("law: while everything is stored and it is not complete, somebody was asked to finish", () => {
    fc.assert(
      fc.property(life, (names) => {
        let machine = TorrentMachine.make({ seeds: false })
        let isAsked = false
        for (const name of names) {
          const { actions, machine: next } = TorrentMachine.step(machine, facts[name])
          machine = next
          // Whoever finishes reports the result, and tries again by itself if it failed.
          if (name.startsWith("finished") || machine.phase !== "running") isAsked = false
          if (actions.some(({ _tag }) => _tag === "Finish")) isAsked = true
          const isLeft = machine.phase === "running" && machine.isStored && machine.completedAt === undefined
          if (isLeft && name === "stored") assert.isTrue(isAsked)
        }
      })
    )
  })
})
