import { globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Bitfield from "../src/base/Bitfield.ts"
import * as InfoHash from "../src/base/InfoHash.ts"
import * as PeerAddress from "../src/base/PeerAddress.ts"
import { PieceIndex } from "../src/base/PieceGeometry.ts"
import { BencodeError } from "../src/bencode/Bencode.ts"
import * as JsonLines from "../src/cli/JsonLines.ts"
import * as ApiErrors from "../src/control/api/ApiErrors.ts"
import { NotReady } from "../src/control/api/HealthApi.ts"
import * as Credentials from "../src/control/security/Credentials.ts"
import { PasswordNeeded } from "../src/control/security/Listening.ts"
import * as Refused from "../src/control/security/Refused.ts"
import { UrlFailed } from "../src/control/TorrentUrl.ts"
import { DhtConfig } from "../src/discovery/dht/DhtConfig.ts"
import { DhtStatus } from "../src/discovery/dht/DhtStatus.ts"
import { DhtStoreError, Saved } from "../src/discovery/dht/DhtStore.ts"
import { TrackerError } from "../src/discovery/tracker/Tracker.ts"
import { AlreadyAdded, EngineEvent, EngineStatus, OnlyV2 } from "../src/engine/Engine.ts"
import { EngineOptions } from "../src/engine/EngineConfig.ts"
import { IoDaemonUnavailable } from "../src/io-daemon/IoDaemon.ts"
import { IoDaemonRefused } from "../src/io-daemon/IoDaemonClient.ts"
import { CreateError } from "../src/metainfo/CreateTorrent.ts"
import { Magnet, MagnetError } from "../src/metainfo/Magnet.ts"
import { MetainfoError } from "../src/metainfo/Metainfo.ts"
import { MetainfoSummary } from "../src/metainfo/MetainfoSummary.ts"
import { ConnectionError } from "../src/network/Transport.ts"
import { ResumeError } from "../src/resume/ResumeStore.ts"
import * as SessionImport from "../src/session/import/SessionImport.ts"
import * as SavedTorrent from "../src/session/SavedTorrent.ts"
import * as SessionInput from "../src/session/SessionInput.ts"
import * as SessionStatus from "../src/session/SessionStatus.ts"
import { SessionStoreError } from "../src/session/SessionStore.ts"
import { AlreadyInSession, NotInSession, NotOpened, PathRefused } from "../src/session/SessionTorrent.ts"
import { DiskFull, NotStored, StorageError, StorageReason } from "../src/storage/Storage.ts"
import { InvalidSubnet } from "../src/swarm/PeerPolicy.ts"
import { Bottleneck } from "../src/torrent/Bottleneck.ts"
import { ContentExists } from "../src/torrent/ContentExists.ts"
import { FileProgress, PeerStatus, SourceStatus, TorrentChange } from "../src/torrent/Torrent.ts"
import { TorrentEvent } from "../src/torrent/TorrentEvent.ts"
import { TorrentOptions } from "../src/torrent/TorrentOptions.ts"
import { TorrentDefect, TorrentError, TorrentState, TorrentStatus } from "../src/torrent/TorrentStatus.ts"
import { RemovalFailed, TorrentStopped } from "../src/torrent/TorrentStopped.ts"
import { WireError } from "../src/wire/WireError.ts"

type AnySchema = Schema.Codec<unknown, unknown>

/** The errors of public E channels, and of events. */
const errors = {
  AlreadyAdded,
  AlreadyInSession,
  BencodeError,
  ConnectionError,
  ContentExists,
  CreateError,
  CredentialsError: Credentials.CredentialsError,
  CrossSite: Refused.CrossSite,
  CsrfTokenMissing: Refused.CsrfTokenMissing,
  DhtStoreError,
  DiskFailed: ApiErrors.DiskFailed,
  FileNotFound: ApiErrors.FileNotFound,
  Forbidden: Refused.Forbidden,
  HostNotAllowed: Refused.HostNotAllowed,
  IoDaemonRefused,
  IoDaemonUnavailable,
  InvalidSubnet,
  MagnetError,
  MetainfoError,
  MethodNotAllowed: ApiErrors.MethodNotAllowed,
  NotInSession,
  NotOpened,
  NotReady,
  OnlyV2,
  ImportError: SessionImport.ImportError,
  OptionRefused: SessionInput.OptionRefused,
  PasswordNeeded,
  PasswordNotAllowed: Credentials.PasswordNotAllowed,
  PasswordsBusy: Credentials.PasswordsBusy,
  PathNotAllowed: Refused.PathNotAllowed,
  PathRefused,
  PathTaken: ApiErrors.PathTaken,
  RemovalFailed,
  RequestRefused: ApiErrors.RequestRefused,
  ResumeError,
  RouteNotFound: ApiErrors.RouteNotFound,
  SessionStoreError,
  SourceRefused: ApiErrors.SourceRefused,
  SourceUnavailable: ApiErrors.SourceUnavailable,
  StorageError,
  StoreFailed: ApiErrors.StoreFailed,
  TooLarge: Refused.TooLarge,
  TooManyFailures: Refused.TooManyFailures,
  TooManyListeners: ApiErrors.TooManyListeners,
  TorrentDefect,
  TorrentExists: ApiErrors.TorrentExists,
  TorrentNotFound: ApiErrors.TorrentNotFound,
  TorrentNotReady: ApiErrors.TorrentNotReady,
  TorrentStopped,
  TrackerError,
  TypeNotSupported: ApiErrors.TypeNotSupported,
  UrlFailed,
  Unauthenticated: Refused.Unauthenticated,
  WireError
}

const schemas: Readonly<Record<string, unknown>> = {
  ...errors,
  InfoHash: InfoHash.InfoHash,
  InfoHashV2: InfoHash.InfoHashV2,
  PeerAddress: PeerAddress.PeerAddress,
  PieceIndex,
  StorageReason,
  TorrentError,
  TorrentEvent,
  TorrentState,
  TorrentStatus,
  TorrentOptions,
  EngineOptions,
  Bitfield: Bitfield.Bitfield,
  EngineStatus,
  TorrentChange,
  PeerStatus,
  SourceStatus,
  FileProgress,
  Bottleneck,
  EngineEvent,
  DhtConfig,
  DhtStatus,
  DhtSaved: Saved,
  SavedTorrent: SavedTorrent.SavedTorrent,
  SavedContent: SavedTorrent.SavedContent,
  SavedLabel: SavedTorrent.SavedLabel,
  Label: SessionInput.Label,
  TrackerGoal: SavedTorrent.TrackerGoal,
  SessionAddOptions: SessionInput.AddOptions,
  SessionLimits: SavedTorrent.SessionLimits,
  SessionStatus: SessionStatus.SessionStatus,
  SessionList: SessionStatus.SessionList,
  SessionChanges: SessionStatus.SessionChanges,
  SessionEvent: SessionStatus.SessionEvent,
  EventsMissed: SessionStatus.EventsMissed,
  Magnet,
  MetainfoSummary,
  Line: JsonLines.Line,
  Result: JsonLines.Result
}

const jsonOf = (schema: unknown) => Schema.fromJsonString(Schema.toCodecJson(schema as AnySchema))

describe("the schemas", () => {
  it.effect.each(Object.entries(schemas))("%s: what is decoded from the JSON of a value is that value", ([, schema]) =>
    Effect.gen(function* () {
      const json = jsonOf(schema)
      const isEqual = Schema.toEquivalence(schema as AnySchema)
      const isRight = (value: unknown): boolean => {
        const text = Schema.encodeSync(json)(value)
        const decoded = Schema.decodeUnknownSync(json)(text)
        // What a defect carries is only kept as far as JSON can.
        const isKept = text.includes("piecewise/TorrentDefect") || isEqual(value, decoded)
        return isKept && Schema.encodeSync(json)(decoded) === text
      }

      const result = yield* Arbitrary.checkEffect(Arbitrary.schema(schema as AnySchema), isRight, {
        runs: 40,
        size: 4,
        seed: 7
      })

      assert.strictEqual(result._tag, "Passed", Arbitrary.formatCheckFailure(result))
    })
  )

  it.each(Object.entries(errors))("%s: is an instance of its class again, with its message", (_, error) => {
    const sample = Effect.runSync(
      Arbitrary.sampleEffect(Arbitrary.schema(error as never), { count: 5, seed: 1, size: 3 })
    )
    const json = jsonOf(error)
    for (const value of sample as ReadonlyArray<Error>) {
      const decoded = Schema.decodeUnknownSync(json)(Schema.encodeSync(json)(value))

      assert.isTrue(decoded instanceof error)
      if (!(value instanceof TorrentDefect)) assert.strictEqual((decoded as Error).message, value.message)
    }
  })

  it("have hexadecimal info hashes and addresses as text in JSON", () => {
    const hash = InfoHash.fromHex("0123456789abcdef0123456789abcdef01234567")!

    assert.strictEqual(Schema.encodeSync(InfoHash.InfoHash)(hash), "0123456789abcdef0123456789abcdef01234567")
    assert.deepStrictEqual(
      Schema.decodeUnknownSync(InfoHash.InfoHash)("0123456789ABCDEF0123456789ABCDEF01234567"),
      hash
    )
    assert.strictEqual(Schema.encodeSync(PeerAddress.PeerAddress)({ host: "2001:db8::1", port: 1 }), "[2001:db8::1]:1")
    assert.deepStrictEqual(Schema.decodeUnknownSync(PeerAddress.PeerAddress)("[::ffff:192.0.2.1]:6881"), {
      host: "192.0.2.1",
      port: 6_881
    })
  })

  it("read the instances that they are given, without a copy", () => {
    const hash = InfoHash.fromBytes(new Uint8Array(20))!

    assert.strictEqual(Schema.decodeUnknownSync(Schema.toType(InfoHash.InfoHash))(hash), hash)
  })

  it.each<[string, unknown, unknown, string]>([
    ["a hash of 19 bytes", InfoHash.InfoHash, "00".repeat(19), "40 hexadecimal digits"],
    ["an address without a port", PeerAddress.PeerAddress, "192.0.2.1", "HOST:PORT"],
    ["a bitfield of too few bytes", Bitfield.Bitfield, { length: 9, bytes: "80" }, "its length, and its bytes"],
    [
      "a bitfield of bytes that are missing",
      Bitfield.Bitfield,
      { length: 2 ** 32, bytes: "" },
      "its length, and its bytes"
    ],
    ["a bitfield with a spare bit", Bitfield.Bitfield, { length: 7, bytes: "81" }, "its length, and its bytes"],
    ["a change without its pieces", TorrentChange, { _tag: "Stored" }, "pieces"],
    ["a piece below 0", PieceIndex, -1, "greater than or equal to 0"],
    ["an unknown event", TorrentEvent, { _tag: "PieceEaten" }, "PieceStored"],
    ["an unknown state", TorrentState, { _tag: "Dreaming" }, "Downloading"],
    ["an unknown error", TorrentError, { _tag: "StorageError" }, "piecewise/StorageError"],
    ["an unknown line", JsonLines.Line, { event: "piece" }, "_tag"]
  ])("refuse %s, and say what they expect", (_, schema, value, expected) => {
    const decoded = Schema.decodeUnknownResult(Schema.toCodecJson(schema as AnySchema))(value)

    assert.isTrue(Result.isFailure(decoded))
    if (Result.isFailure(decoded)) assert.include(String(decoded.failure), expected)
  })

  it("accept an event that is made as a plain object", () => {
    const event: TorrentEvent = { _tag: "PieceStored", piece: 3 as PieceIndex, storedPieces: 4 }

    assert.isTrue(TorrentEvent.guards.PieceStored(event))
    assert.strictEqual(Schema.encodeSync(jsonOf(TorrentEvent))(event), JSON.stringify(event))
  })

  it("have bitfields as their length and hexadecimal bytes in JSON", () => {
    const stored = Bitfield.make(10)
    Bitfield.add(stored, 0)
    Bitfield.add(stored, 9)
    const change: TorrentChange = { _tag: "Current", state: { _tag: "Complete" }, stored, wanted: Bitfield.full(10) }

    const json = Schema.encodeSync(jsonOf(TorrentChange))(change) as string

    assert.deepStrictEqual(JSON.parse(json), {
      _tag: "Current",
      state: { _tag: "Complete" },
      stored: { length: 10, bytes: "8040" },
      wanted: { length: 10, bytes: "ffc0" }
    })
    assert.deepStrictEqual(Schema.decodeUnknownSync(jsonOf(TorrentChange))(json), change)
  })

  it("take no bitfield whose count is wrong", () => {
    const isBitfield = Schema.is(Bitfield.Bitfield)

    assert.isTrue(isBitfield(Bitfield.full(9)))
    for (const value of [
      { ...Bitfield.full(9), count: 8 },
      { length: 9, count: 0 },
      { ...Bitfield.make(0), length: -1 },
      1,
      null
    ]) {
      assert.isFalse(isBitfield(value))
    }
  })

  it("keep the reasons of a storage error, in JSON by their short tags", () => {
    const error = StorageError.of("write", [new NotStored({ path: "a" }), new DiskFull({ path: "b" })])

    assert.deepStrictEqual(JSON.parse(Schema.encodeSync(jsonOf(StorageError))(error) as string), {
      _tag: "piecewise/StorageError",
      operation: "write",
      reason: { _tag: "DiskFull", path: "b" },
      others: [{ _tag: "NotStored", path: "a" }]
    })
  })

  it("decode options that a torrent can be added with", () => {
    const options = Schema.decodeUnknownSync(Schema.toCodecJson(TorrentOptions))({
      files: ["skip", "high"],
      limits: { downloadBytesPerSecond: "2097152" }
    })

    assert.deepStrictEqual(options, {
      files: ["skip", "high"],
      limits: { downloadBytesPerSecond: ByteSize.mebibytes(2) }
    })
  })
})

describe("the tags of errors", () => {
  const root = path.resolve(import.meta.dirname, "..")
  const texts = globSync("src/**/*.ts", { cwd: root }).map((file) => readFileSync(path.join(root, file), "utf8"))
  const tags = texts.flatMap((text) =>
    [...text.matchAll(/Schema\.TaggedError<(\w+)>\(\)\(\s*"([^"]+)"/g)].map(([, name, tag]) => [name!, tag!] as const)
  )

  it("begin with the name of the package, and are unique", () => {
    for (const [name, tag] of tags) assert.strictEqual(tag, `piecewise/${name}`)
    assert.strictEqual(new Set(tags.map(([, tag]) => tag)).size, tags.length)
  })

  it("are all those whose round trip is tested", () => {
    const names = tags.map(([name]) => name)

    assert.deepStrictEqual(
      names.filter((name) => !(name in errors)),
      []
    )
    assert.isAtLeast(names.length, Object.keys(errors).length)
  })
})
