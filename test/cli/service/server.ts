/**
 * A service on this machine whose torrents are a list, and a state folder in which commands find it. It has the contract
 * of a real one (`ControlApi`), and no engine.
 */
import { writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import * as path from "node:path"
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Effect, Exit, Layer, Redacted } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { NetAddress } from "effect/net"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as Arguments from "../../../src/cli/Arguments.ts"
import type { CommandFailed } from "../../../src/cli/CommandFailed.ts"
import * as Commands from "../../../src/cli/Commands.ts"
import type * as Output from "../../../src/cli/Output.ts"
import { Access, Anybody, Form } from "../../../src/control/api/Access.ts"
import * as Errors from "../../../src/control/api/ApiErrors.ts"
import { ControlApi } from "../../../src/control/api/ControlApi.ts"
import type { ServiceLimits } from "../../../src/control/api/ServiceApi.ts"
import type { NewTorrent, TorrentItem } from "../../../src/control/api/TorrentModel.ts"
import { Caller } from "../../../src/control/security/Caller.ts"
import { Unauthenticated } from "../../../src/control/security/Refused.ts"
import * as TorrentList from "../../../src/control/server/TorrentList.ts"
import * as ServiceFolder from "../../../src/node/ServiceFolder.ts"
import type { Unreadable } from "../../../src/session/SavedTorrent.ts"
import { fakeOutput, folderScoped } from "../program.ts"
import { all, service, torrent } from "./torrents.ts"

/** What the service has, and what it was asked to do. */
export interface Fake {
  torrents: Array<TorrentItem>
  limits: ServiceLimits
  readonly unreadable: Array<Unreadable>
  readonly added: Array<NewTorrent>
  /** Operations with their arguments, in their order. */
  readonly calls: Array<readonly [operation: string, ...details: ReadonlyArray<unknown>]>
}

export const token = "the-token"

/** What operations do that no command uses. */
const notUsed = () => Effect.die("no command asks for this")

const torrents = (fake: Fake) =>
  HttpApiBuilder.group(ControlApi, "torrents", (handlers) => {
    const find = (infoHash: InfoHash.InfoHash): Effect.Effect<TorrentItem, Errors.TorrentNotFound> => {
      const found = fake.torrents.find((torrent) => InfoHash.equals(torrent.infoHash, infoHash))
      return found === undefined
        ? Effect.fail(new Errors.TorrentNotFound({ infoHash, message: "the session has no such torrent" }))
        : Effect.succeed(found)
    }
    /** Notes what was asked of a torrent. */
    const note = (operation: string, infoHash: InfoHash.InfoHash, ...details: ReadonlyArray<unknown>) =>
      Effect.tap(find(infoHash), ({ name }) => Effect.sync(() => fake.calls.push([operation, name, ...details])))
    return handlers.handleAll({
      list: ({ query }) =>
        Effect.sync(() =>
          TorrentList.pageOf({ revision: "1", torrents: fake.torrents, unreadable: fake.unreadable }, query)
        ),
      changes: () => Effect.sync(() => all(fake.torrents)),
      add: Effect.fnUntraced(function* ({ payload }) {
        fake.added.push(payload)
        const { source } = payload
        if (source._tag === "Metainfo" && source.bytes[0] !== 0x64) {
          return yield* new Errors.SourceRefused({ message: "it is not a torrent file" })
        }
        const known = fake.torrents[0]
        if (source._tag === "Url" && known !== undefined) {
          return yield* new Errors.TorrentExists({ infoHash: known.infoHash, message: "it is there already" })
        }
        return torrent("abcd", { name: "new\x1b[2J", labels: payload.labels ?? [] })
      }),
      addFile: notUsed,
      setFolder: notUsed,
      get: ({ params }) => Effect.map(find(params.infoHash), (torrent) => ({ torrent })),
      update: ({ params, payload }) =>
        Effect.map(note("update", params.infoHash, payload), (torrent) => ({
          ...torrent,
          labels: payload.labels ?? []
        })),
      remove: ({ params, query }) =>
        Effect.as(note("remove", params.infoHash, query.data), { keptPaths: query.data ? ["/srv/kept\n"] : [] }),
      pause: ({ params }) => Effect.asVoid(note("pause", params.infoHash)),
      resume: ({ params, payload }) => Effect.asVoid(note("resume", params.infoHash, payload)),
      recheck: ({ params }) => Effect.asVoid(note("recheck", params.infoHash)),
      move: ({ params, payload }) => Effect.asVoid(note("move", params.infoHash, payload)),
      files: ({ params }) =>
        Effect.flatMap(find(params.infoHash), ({ infoHash, progress }) =>
          progress === undefined
            ? Effect.fail(new Errors.TorrentNotReady({ infoHash, message: "its metadata is not known yet" }))
            : Effect.succeed(files)
        ),
      setFiles: notUsed,
      renameFile: notUsed,
      peers: ({ params }) => Effect.as(find(params.infoHash), []),
      addPeers: notUsed,
      trackers: ({ params }) => Effect.as(find(params.infoHash), trackers),
      pieces: notUsed,
      metainfo: notUsed,
      link: ({ params }) => Effect.as(find(params.infoHash), { path: "v1/stream/ticket/" })
    })
  })

const files = Array.from({ length: 25 }, (_, index) => ({
  index,
  path: `album/\x1b[1m${index}.bin`,
  length: 1_000,
  storedBytes: index === 0 ? 1_000 : 250,
  priority: index === 1 ? ("skip" as const) : ("normal" as const),
  isComplete: index === 0
}))

const trackers = {
  trackers: [["http://a.example/announce"], ["udp://b.example:1"]],
  sources: [
    { source: "http://a.example/announce", reportedMillisAgo: 65_000, hasAnswered: true, peers: 2, seeders: 1 },
    { source: "DHT", reportedMillisAgo: 1_000, hasAnswered: false, peers: 0, failure: "no node\nanswers" }
  ]
}

const others = (fake: Fake) =>
  [
    HttpApiBuilder.group(ControlApi, "service", (handlers) =>
      handlers.handleAll({
        status: () => Effect.succeed(service()),
        limits: () => Effect.succeed(fake.limits),
        setLimits: ({ payload }) =>
          Effect.sync(() => {
            fake.limits = payload
            return payload
          }),
        actions: notUsed,
        backup: notUsed,
        events: notUsed
      })
    ),
    HttpApiBuilder.group(ControlApi, "labels", (handlers) =>
      handlers.handleAll({
        list: notUsed,
        set: notUsed,
        remove: notUsed,
        listGoals: notUsed,
        setGoal: notUsed,
        removeGoal: notUsed
      })
    ),
    HttpApiBuilder.group(ControlApi, "login", (handlers) =>
      handlers.handleAll({ whoAmI: notUsed, login: notUsed, logout: notUsed })
    ),
    HttpApiBuilder.group(ControlApi, "health", (handlers) => handlers.handleAll({ health: notUsed, ready: notUsed }))
  ] as const

const form = Layer.succeed(Form, (handler) => handler)

const access = Layer.succeed(Access, {
  token: (handler, { credential }) =>
    Redacted.value(credential) === token
      ? handler
      : Effect.fail(new Unauthenticated({ message: "The token is wrong." })),
  session: () => Effect.fail(new Unauthenticated({ message: "There is no session." }))
})

const anybody = Layer.succeed(Anybody, (handler) =>
  Effect.provideService(handler, Caller, { _tag: "Nobody", address: "127.0.0.1" })
)

/** Starts a service, and announces it in a state folder. Both go when the scope closes. */
export const start = Effect.fnUntraced(function* (given: ReadonlyArray<TorrentItem> = []) {
  const fake: Fake = { torrents: [...given], limits: {}, unreadable: [], added: [], calls: [] }
  const routes = HttpApiBuilder.layer(ControlApi).pipe(
    Layer.provide([torrents(fake), ...others(fake)]),
    Layer.provide([form, access, anybody])
  )
  const context = yield* Layer.build(
    HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
      Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 }))
    )
  )
  const { address } = Context.get(context, HttpServer.HttpServer)
  const port = NetAddress.isInetAddress(address) ? address.port : 0
  const url = `http://127.0.0.1:${port}/`
  const state = yield* folderScoped
  yield* Effect.promise(() => writeFile(path.join(state, ServiceFolder.names.token), token))
  yield* ServiceFolder.announce(state, url)
  return { fake, url, state }
})

type Run = (
  args: Arguments.Arguments,
  output: Output.Output
) => Effect.Effect<void, CommandFailed | Arguments.WrongUsage>

/** Runs a command in this process, and returns what it has printed and how it failed. */
export const run = Effect.fnUntraced(function* (program: Run, words: ReadonlyArray<string>, isTerminal = false) {
  const command = Commands.all.find(({ name }) => name === words[0])!
  const { output, written } = fakeOutput(isTerminal)
  const exit = yield* Effect.exit(program(Arguments.read(command, words.slice(1)), output))
  const failure = Exit.isSuccess(exit) ? undefined : exit.cause.reasons[0]
  const why = failure === undefined ? undefined : failure._tag === "Fail" ? failure.error.message : String(exit)
  return { ...written, why }
})
