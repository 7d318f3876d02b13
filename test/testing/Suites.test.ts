/** The exported suites find faults: each mutant of a good layer fails a case, and the good layer fails none. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import { type Connection, Dialer, Listener, UdpPort, type UdpSocket } from "../../src/network/Transport.ts"
import * as MemoryResumeStore from "../../src/resume/provider/MemoryResumeStore.ts"
import { ResumeStore, type TorrentResume } from "../../src/resume/ResumeStore.ts"
import { Storage, type TorrentStorage } from "../../src/storage/Storage.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import * as MemoryUdpNetwork from "../../src/testing/MemoryUdpNetwork.ts"
import type { MediumFiles } from "../../src/testing/suite/MediumFiles.ts"
import * as PieceHasherSuite from "../../src/testing/suite/PieceHasherSuite.ts"
import * as ResumeStoreSuite from "../../src/testing/suite/ResumeStoreSuite.ts"
import * as StorageSuite from "../../src/testing/suite/StorageSuite.ts"
import * as Suite from "../../src/testing/suite/Suite.ts"
import * as TransportProbe from "../../src/testing/suite/TransportProbe.ts"
import * as TransportSuite from "../../src/testing/suite/TransportSuite.ts"
import * as UdpPortSuite from "../../src/testing/suite/UdpPortSuite.ts"
import * as Memory from "../storage/memory.ts"

/** A case that needs more turns of the event loop than this hangs. */
const mostTurns = 500

const hangs = Effect.gen(function* () {
  for (let turn = 0; turn < mostTurns; turn++) yield* TransportProbe.settle
})

/** Whether a case fails or hangs with a layer. */
const fails = <R, E>({ run }: Suite.Case<R>, layer: Layer.Layer<NoInfer<R>, E>, hanging: Effect.Effect<void>) =>
  Effect.raceFirst(
    Effect.match(Effect.provide(run, layer, { local: true }), { onSuccess: () => false, onFailure: () => true }),
    Effect.as(hanging, true)
  )

/**
 * Makes a test of each mutant: it fails the case whose name has this part, which passes with the layer as it is.
 * `hanging` ends when a case hangs.
 */
const find = <R, E, M>(
  cases: ReadonlyArray<Suite.Case<R>>,
  layerOf: (mutate: M) => Layer.Layer<NoInfer<R>, E>,
  none: M,
  mutants: Readonly<Record<string, readonly [mutate: M, finds: string]>>,
  hanging: Effect.Effect<void> = hangs
) => {
  for (const [name, [mutate, finds]] of Object.entries(mutants)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const one = cases.find(({ name }) => name.includes(finds))!

        const fate = (mutate: M) => fails(one, layerOf(mutate), hanging)
        assert.deepStrictEqual([yield* fate(none), yield* fate(mutate)], [false, true])
      })
    )
  }
}

type MutateStorage = (torrent: TorrentStorage) => Partial<TorrentStorage>

const storage = (mutate: MutateStorage) =>
  Layer.effect(
    Storage,
    Effect.map(Storage, (below) =>
      Storage.of({
        open: (options) => Effect.map(below.open(options), (torrent) => ({ ...torrent, ...mutate(torrent) }))
      })
    )
  ).pipe(Layer.provideMerge(Layer.provideMerge(Memory.files, Memory.layer())))

describe("StorageSuite finds a storage that", () => {
  find<Storage, unknown, MutateStorage>(StorageSuite.cases, storage, () => ({}), {
    "loses the last byte of a piece": [
      ({ writePiece }) => ({
        writePiece: (piece, bytes) => {
          const damaged = bytes.slice()
          damaged[damaged.length - 1] = 0
          return writePiece(piece, damaged)
        }
      }),
      "reads back an odd last piece"
    ],
    "reads from the beginning of the piece": [
      ({ readBlock }) => ({ readBlock: (piece, _, length) => readBlock(piece, 0, length) }),
      "reads a block that crosses files and padding"
    ],
    "keeps its caller's buffer": [
      ({ readBlock, writePiece }) => {
        const kept = new Map<number, Uint8Array>()
        return {
          writePiece: (piece, bytes) => {
            kept.set(piece, bytes)
            return writePiece(piece, bytes)
          },
          readBlock: (piece, begin, length) =>
            Effect.map(readBlock(piece, begin, length), ({ bytes, files }) => ({
              bytes: kept.get(piece)?.slice(begin, begin + length) ?? bytes,
              files
            }))
        }
      },
      "does not read its caller's buffer after a write returned"
    ],
    "digests in an order of its own": [
      ({ digests }) => ({ digests: (pieces) => digests([...pieces].sort((a, b) => a - b)) }),
      "digests what is stored, in the requested order"
    ],
    "lets two write to a file": [
      () => ({ reserve: () => Effect.void, release: () => Effect.void }),
      "are refused to another opening"
    ],
    "accepts files that have changed": [
      ({ claim }) => ({ claim: (claims) => claim(claims.map(({ file }) => ({ file, as: "overwritten" }))) }),
      "as found ones are refused if they were written or removed since"
    ],
    "removes nothing": [() => ({ remove: () => Effect.void }), "are gone, and nothing else is"],
    "flushes what is not there": [
      ({ flush }) => ({
        flush: (files) => Effect.map(flush(files), (all) => all.filter((each) => "facts" in each))
      }),
      "fail if they are missing"
    ]
  })
})

describe("StorageSuite finds a medium of files that", () => {
  find<Storage | MediumFiles, unknown, MutateStorage>(
    [...StorageSuite.fileCases, ...StorageSuite.skippedCases],
    storage,
    () => ({}),
    {
      "overwrites files of others": [
        ({ claim }) => ({ claim: (claims) => claim(claims.map(({ file }) => ({ file, as: "overwritten" }))) }),
        "as new ones are refused and left unchanged if anything exists"
      ],
      "moves nothing": [() => ({ rename: () => Effect.void }), "are used at the new path from then on"],
      "makes every file": [
        ({ prepare }) => ({ prepare: () => prepare([0, 1, 2]) }),
        "a skipped file is not made by a piece"
      ],
      "never brings skipped files back": [
        ({ prepare }) => {
          let isFirst = true
          return {
            prepare: (files) => {
              const first = isFirst
              isFirst = false
              return first ? prepare(files) : Effect.void
            }
          }
        },
        "is moved to its place when it is wanted"
      ],
      "reports old facts with what it reads": [
        ({ look, readBlock }) => ({
          readBlock: (piece, begin, length) =>
            Effect.map(readBlock(piece, begin, length), ({ bytes, files }) => ({
              bytes,
              files: files.map((facts) => ({ ...facts, mtimeNs: 0n }))
            })),
          look
        }),
        "are reported with every block that is read from them"
      ]
    }
  )
})

type MutateResume = (resume: TorrentResume) => Partial<TorrentResume>

const resume = (mutate: MutateResume) =>
  Layer.effect(
    ResumeStore,
    Effect.map(ResumeStore, (below) =>
      ResumeStore.of({
        open: (options) => Effect.map(below.open(options), (torrent) => ({ ...torrent, ...mutate(torrent) }))
      })
    )
  ).pipe(Layer.provideMerge(MemoryResumeStore.layer))

const resumeCases = [
  ...ResumeStoreSuite.cases,
  ...ResumeStoreSuite.restartCases(MemoryResumeStore.MemoryResumeStore.use(({ cutPower }) => cutPower))
]

describe("ResumeStoreSuite finds a store that", () => {
  find<ResumeStore | MemoryResumeStore.MemoryResumeStore, unknown, MutateResume>(resumeCases, resume, () => ({}), {
    "forgets files": [
      ({ save }) => ({ save: (snapshot) => save({ ...snapshot, files: new Map() }) }),
      "returns the files that were saved"
    ],
    "keeps dropped pieces": [
      ({ append }) => ({ append: (change, options) => append({ ...change, dropped: undefined }, options) }),
      "removes a dropped piece from both sets"
    ],
    "takes stored pieces for flushed ones": [
      ({ save }) => ({ save: (snapshot) => save({ ...snapshot, flushed: snapshot.stored }) }),
      "fault 52: trusts only flushed pieces after a power cut"
    ],
    "does not notice a restart": [
      ({ load }) => ({ load: Effect.map(load, (data) => data && { ...data, isSameBoot: true }) }),
      "fault 52: trusts only flushed pieces after a power cut"
    ],
    "does not forget": [() => ({ remove: Effect.void }), "forgets a torrent"]
  })
})

interface MutateTransport {
  readonly near?: (connection: Connection) => Partial<Connection>
  readonly listen?: Partial<Listener["Service"]>
  readonly resolve?: (address: PeerAddress) => PeerAddress
}

const transport = ({ listen, near, resolve = (address) => address }: MutateTransport) =>
  Layer.effectContext(
    Effect.map(Effect.context<Dialer | Listener>(), (context) =>
      Context.make(
        Dialer,
        Dialer.of({
          connect: (to) =>
            Effect.map(Context.get(context, Dialer).connect(resolve(to)), (connection) => ({
              ...connection,
              ...near?.(connection)
            }))
        })
      ).pipe(Context.add(Listener, Listener.of({ ...Context.get(context, Listener), ...listen })))
    )
  ).pipe(Layer.provideMerge(MemoryNetwork.layer()))

const transportCases = TransportSuite.cases({
  host: MemoryNetwork.defaultHost,
  bufferBytes: 1_000_000,
  handles: Effect.succeed(0)
})

describe("TransportSuite finds a transport that", () => {
  find<Dialer | Listener, unknown, MutateTransport>(
    transportCases,
    transport,
    {},
    {
      "changes a byte": [
        {
          near: ({ writeUnsafe }) => ({
            writeUnsafe: Object.assign((bytes: Uint8Array) => {
              const sent = bytes.slice()
              if (sent.length > 100) sent[99]! ^= 1
              return writeUnsafe(sent)
            }, {})
          })
        },
        "delivers every byte in order"
      ],
      "never makes a writer wait": [
        {
          near: ({ writeUnsafe }) => ({
            writeUnsafe: Object.assign((bytes: Uint8Array) => {
              writeUnsafe(bytes)
              return true
            }, {})
          })
        },
        "makes a writer wait while the other side does not read"
      ],
      "follows every name": [
        { resolve: (address) => ({ ...address, host: MemoryNetwork.defaultHost }) },
        "follows no name to this machine"
      ],
      "has another address": [
        { near: ({ remote }) => ({ remote: { ...remote, port: 1 } }) },
        "has the addresses of both ends"
      ]
    }
  )
})

const udp = (mutate: (socket: UdpSocket) => Partial<UdpSocket>) =>
  Layer.effect(
    UdpPort,
    Effect.map(UdpPort, (below) =>
      UdpPort.of({ bind: (where) => Effect.map(below.bind(where), (socket) => ({ ...socket, ...mutate(socket) })) })
    )
  ).pipe(Layer.provide(MemoryUdpNetwork.layer()))

describe("UdpPortSuite finds a port that", () => {
  find<UdpPort, unknown, (socket: UdpSocket) => Partial<UdpSocket>>(
    UdpPortSuite.cases([MemoryUdpNetwork.defaultHost, MemoryUdpNetwork.defaultHost]),
    udp,
    () => ({}),
    {
      "cuts datagrams": [
        ({ sendUnsafe }) => ({ sendUnsafe: (payload, to) => sendUnsafe(payload.subarray(0, 1_500), to) }),
        "carries payloads of every size both ways"
      ],
      "names another sender": [
        ({ receiveUnsafe }) => ({
          receiveUnsafe: (sink) => receiveUnsafe((payload) => sink(payload, { host: "10.9.9.9", port: 9 }))
        }),
        "carries payloads of every size both ways"
      ],
      "has another port": [
        ({ local }) => ({ local: { ...local, port: 9 } }),
        "carries payloads of every size both ways"
      ],
      "never says that it closed": [() => ({ closed: Effect.never }), "completes closed when its scope closes"]
    }
  )
})

const hasher = (mutate: (hasher: PieceHasher["Service"]) => Partial<PieceHasher["Service"]>) =>
  Layer.effect(
    PieceHasher,
    Effect.map(WebCryptoPieceHasher.make, (good) => PieceHasher.of({ ...good, ...mutate(good) }))
  )

describe("PieceHasherSuite finds a hasher that", () => {
  find<PieceHasher, unknown, (hasher: PieceHasher["Service"]) => Partial<PieceHasher["Service"]>>(
    PieceHasherSuite.cases,
    hasher,
    () => ({}),
    {
      "hashes around a view": [
        ({ sha1 }) => ({ sha1: (bytes) => sha1(new Uint8Array(bytes.buffer, 0, bytes.length)) }),
        "hashes the bytes of a view and none around it"
      ],
      "takes SHA-1 for SHA-256": [({ sha1 }) => ({ sha256: sha1 }), "computes the published digests of no bytes"],
      "keeps the digest that it returned": [
        ({ sha1 }) => {
          const known = new Map<string, Uint8Array>()
          return {
            sha1: (bytes) =>
              Effect.map(sha1(bytes), (digest) => {
                const key = `${bytes.length}`
                if (bytes.length > 3) return digest
                if (!known.has(key)) known.set(key, digest)
                return known.get(key)!
              })
          }
        },
        "keeps no reference to them"
      ]
    },
    // Web Crypto works in threads, which on a busy machine take any number of turns. None of these hangs.
    Effect.never
  )
})

describe("Suite", () => {
  it.effect("says which case failed, and why", () =>
    Effect.gen(function* () {
      const [one] = Suite.group("a group", [Suite.test("of cases", Effect.die(new Error("expected 1, got 2")))])

      const failure = yield* Effect.flip(one!.run)

      assert.strictEqual(failure.message, "a group of cases: expected 1, got 2")
      assert.strictEqual(failure.test, "a group of cases")
    })
  )

  it("names every case once", () => {
    for (const cases of [StorageSuite.cases, [...StorageSuite.fileCases, ...StorageSuite.skippedCases], resumeCases]) {
      assert.strictEqual(new Set(cases.map(({ name }) => name)).size, cases.length)
    }
  })
})
