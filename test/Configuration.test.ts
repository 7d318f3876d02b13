import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Size from "../src/base/Size.ts"
import * as DhtConfig from "../src/discovery/dht/DhtConfig.ts"
import * as HttpTracker from "../src/discovery/tracker/provider/HttpTracker.ts"
import * as TrackerSource from "../src/discovery/tracker/TrackerSource.ts"
import * as Engine from "../src/engine/Engine.ts"
import * as EngineConfig from "../src/engine/EngineConfig.ts"
import type { EngineOptions } from "../src/engine/EngineOptions.ts"
import * as NodePieceHasher from "../src/hash/provider/node/NodePieceHasher.ts"
import * as ThreadedPieceHasher from "../src/hash/provider/node/ThreadedPieceHasher.ts"
import * as IoDaemon from "../src/io-daemon/IoDaemon.ts"
import * as IoDaemonProcess from "../src/io-daemon/node/IoDaemonProcess.ts"
import * as IoDaemonTransport from "../src/network/provider/io-daemon/IoDaemonTransport.ts"
import * as TcpTransport from "../src/network/provider/node/TcpTransport.ts"
import * as UdpHub from "../src/network/UdpHub.ts"
import * as NodeEngine from "../src/node/NodeEngine.ts"
import * as NodeTracker from "../src/node/NodeTracker.ts"
import * as NodeUdpHub from "../src/node/NodeUdpHub.ts"
import * as FileResumeStore from "../src/resume/provider/node/FileResumeStore.ts"
import * as IoDaemonStorage from "../src/storage/provider/io-daemon/IoDaemonStorage.ts"
import * as FileSystemStorage from "../src/storage/provider/node/FileSystemStorage.ts"

const root = path.resolve(import.meta.dirname, "..")

type Env = Readonly<Record<string, string>>

const provider = (env: Env) => ConfigProvider.fromEnv({ env })

const read = <A>(config: Config.Config<A>, env: Env): Exit.Exit<A, Config.ConfigError> =>
  Effect.runSyncExit(config.parse(provider(env)))

const right = <A>(config: Config.Config<A>, env: Env): A => {
  const exit = read(config, env)
  assert.isTrue(Exit.isSuccess(exit), String(exit))
  return (exit as Exit.Success<A, never>).value
}

const wrong = <A>(config: Config.Config<A>, env: Env): string => {
  const exit = Exit.match(read(config, env), { onSuccess: () => undefined, onFailure: (cause) => cause.reasons[0] })
  assert.isTrue(exit !== undefined && exit._tag === "Fail", "the config should fail")
  return (exit as { readonly error: Config.ConfigError }).error.message
}

/** Without its keys of the value `undefined`. */
const given = <A extends object>(options: A): Partial<A> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<A>

const configs: Readonly<Record<string, () => Config.Config<unknown>>> = {
  engine: EngineConfig.fromEnvironment,
  storage: FileSystemStorage.fromEnvironment,
  resume: FileResumeStore.fromEnvironment,
  tracker: HttpTracker.fromEnvironment,
  source: TrackerSource.fromEnvironment,
  udp: UdpHub.fromEnvironment,
  dht: DhtConfig.fromEnvironment,
  daemon: IoDaemon.fromEnvironment,
  daemonStorage: IoDaemonStorage.fromEnvironment,
  daemonProcess: IoDaemonProcess.fromEnvironment
}

/** What must be set before other variables are looked at. */
const needed: Env = {
  PIECEWISE_DIRECTORY: "downloads",
  PIECEWISE_IO_DAEMON_URL: "http://127.0.0.1:4710",
  PIECEWISE_IO_DAEMON_TOKEN: "secret-token-0123456789",
  PIECEWISE_IO_DAEMON_ROOT: "downloads",
  PIECEWISE_IO_DAEMON: "/bin/piecewise-io-daemon",
  PIECEWISE_IO_DAEMON_ROOTS: "downloads=/srv"
}

describe("the configuration", () => {
  it.each<Env>([{}, { PIECEWISE_BUFFER_BYTES: "", PIECEWISE_LISTEN_PORT: "" }])(
    "has the defaults of the options if nothing is set, as in %j",
    (env) => {
      const options = right(EngineConfig.fromEnvironment(), env)

      assert.deepStrictEqual(given(options), {
        limits: { downloadBytesPerSecond: undefined, uploadBytesPerSecond: undefined }
      })
      assert.deepStrictEqual(given(right(UdpHub.fromEnvironment(), {})), {})
    }
  )

  it("reads every variable of an engine", () => {
    const options = right(EngineConfig.fromEnvironment(), {
      PIECEWISE_BUFFER_BYTES: "128MiB",
      PIECEWISE_READ_CACHE_BYTES: "0",
      PIECEWISE_MAX_METADATA_BYTES: "1.5 MB",
      PIECEWISE_MAX_CONNECTIONS: "50",
      PIECEWISE_DOWNLOAD_LIMIT: "2MiB",
      PIECEWISE_UPLOAD_LIMIT: "512000",
      PIECEWISE_LISTEN_PORT: "6881-6883,7000",
      PIECEWISE_BIND: "127.0.0.1",
      PIECEWISE_ENCRYPTION: "require"
    })

    assert.deepStrictEqual(options, {
      bufferBytes: ByteSize.mebibytes(128),
      readCacheBytes: ByteSize.zero,
      maxMetadataBytes: ByteSize.bytes(1_500_000),
      maxConnections: 50,
      limits: { downloadBytesPerSecond: ByteSize.mebibytes(2), uploadBytesPerSecond: ByteSize.bytes(512_000) },
      listen: { host: "127.0.0.1", port: [6_881, 6_882, 6_883, 7_000] },
      encryption: "require"
    })
  })

  describe("has the bounds of the schema of the options", () => {
    const accepts = (options: unknown): boolean => Schema.is(EngineConfig.EngineOptions)(options)
    const reads = (name: string, value: number | bigint): boolean =>
      Exit.isSuccess(read(EngineConfig.fromEnvironment(), { [name]: String(value) }))
    const max = Number.MAX_SAFE_INTEGER

    it.each<[string, number, (size: Size.Size) => EngineOptions]>([
      ["PIECEWISE_BUFFER_BYTES", 65_536, (bufferBytes) => ({ bufferBytes })],
      ["PIECEWISE_READ_CACHE_BYTES", 0, (readCacheBytes) => ({ readCacheBytes })],
      ["PIECEWISE_MAX_METADATA_BYTES", 1, (maxMetadataBytes) => ({ maxMetadataBytes })],
      ["PIECEWISE_DOWNLOAD_LIMIT", 1, (limit) => ({ limits: { downloadBytesPerSecond: limit } })],
      ["PIECEWISE_UPLOAD_LIMIT", 1, (limit) => ({ limits: { uploadBytesPerSecond: limit } })]
    ])("%s: at least %d, as a number of bytes or a ByteSize", (name, min, options) => {
      for (const size of [min, max]) {
        assert.deepStrictEqual([accepts(options(size)), accepts(options(ByteSize.bytes(size)))], [true, true])
        assert.isTrue(reads(name, size))
      }
      assert.isFalse(accepts(options(min - 1)) || reads(name, min - 1))
      if (min > 0) assert.isFalse(accepts(options(ByteSize.bytes(min - 1))))
      assert.isFalse(accepts(options(max + 1)) || accepts(options(ByteSize.bytes(BigInt(max) + 1n))))
      assert.isFalse(reads(name, BigInt(max) + 1n))
    })

    it("for the number of connections, and the ports", () => {
      for (const [value, isRight] of [
        [0, false],
        [1, true],
        [100_000, true],
        [100_001, false]
      ] as const) {
        assert.strictEqual(accepts({ maxConnections: value }), isRight)
        assert.strictEqual(reads("PIECEWISE_MAX_CONNECTIONS", value), isRight)
      }
      for (const [value, isRight] of [
        [-1, false],
        [0, true],
        [65_535, true],
        [65_536, false]
      ] as const) {
        assert.strictEqual(accepts({ listen: { port: value } }), isRight)
        assert.strictEqual(reads("PIECEWISE_LISTEN_PORT", value), isRight)
      }
      assert.isFalse(accepts({ listen: { port: [] } }))
    })
  })

  it("reads every variable of the providers", () => {
    assert.deepStrictEqual(
      right(FileSystemStorage.fromEnvironment(), {
        PIECEWISE_DIRECTORY: "/srv/my torrents ",
        PIECEWISE_MAX_OPEN_FILES: "64",
        PIECEWISE_FOLLOW_LINKS: "yes"
      }),
      { directory: "/srv/my torrents ", maxOpenFiles: 64, followLinks: true }
    )
    assert.deepStrictEqual(right(FileResumeStore.fromEnvironment(), { PIECEWISE_DIRECTORY: "a" }), {
      directory: "a/.piecewise"
    })
    assert.deepStrictEqual(right(FileResumeStore.fromEnvironment(), { PIECEWISE_RESUME_DIRECTORY: "b" }), {
      directory: "b"
    })
    assert.deepStrictEqual(right(HttpTracker.fromEnvironment(), { PIECEWISE_TRACKER_TIMEOUT: "20 seconds" }), {
      timeout: Duration.seconds(20)
    })
    assert.deepStrictEqual(right(TrackerSource.fromEnvironment(), { PIECEWISE_TRACKER_PEERS: "50" }), { numWant: 50 })
    assert.deepStrictEqual(
      right(DhtConfig.fromEnvironment(), {
        PIECEWISE_DHT_ROUTERS: "router.example:6881, [::1]:1",
        PIECEWISE_DHT_READ_ONLY: "yes"
      }),
      {
        bootstrap: [
          { host: "router.example", port: 6_881 },
          { host: "::1", port: 1 }
        ],
        isReadOnly: true
      }
    )
    assert.deepStrictEqual(given(right(DhtConfig.fromEnvironment(), { PIECEWISE_DHT_ROUTERS: "none" }) as object), {
      bootstrap: []
    })
    assert.isFalse(right(DhtConfig.fromEnvironment(), { PIECEWISE_DHT: "off" }))
    assert.deepStrictEqual(right(UdpHub.fromEnvironment(), { PIECEWISE_UDP_PORT: "6881", PIECEWISE_BIND: "::" }), {
      port: 6_881,
      host: undefined
    })
    assert.deepStrictEqual(
      right(UdpHub.fromEnvironment(), { PIECEWISE_UDP_BIND: "127.0.0.1, 2001:DB8::1,127.0.0.1", PIECEWISE_BIND: "::" }),
      { port: undefined, host: ["127.0.0.1", "2001:db8::1"] }
    )
    const both = { PIECEWISE_UDP_BIND: "127.0.0.1", PIECEWISE_BIND: "127.0.0.2" }
    assert.strictEqual(right(UdpHub.fromEnvironment(), both).host, "127.0.0.2")
    assert.deepStrictEqual(
      right(IoDaemonProcess.fromEnvironment(), {
        PIECEWISE_IO_DAEMON: "/bin/d",
        PIECEWISE_IO_DAEMON_ROOTS: "a=/srv/a, b=/srv/b=c",
        PIECEWISE_IO_DAEMON_ORIGINS: "https://a.example, https://b.example"
      }),
      {
        program: "/bin/d",
        roots: { a: "/srv/a", b: "/srv/b=c" },
        allowOrigins: ["https://a.example", "https://b.example"]
      }
    )
    assert.deepStrictEqual(
      right(IoDaemonStorage.fromEnvironment(), { PIECEWISE_IO_DAEMON_ROOT: "a", PIECEWISE_IO_DAEMON_REQUESTS: "2" }),
      { root: "a", requestsInFlight: 2 }
    )
  })

  it.each<[keyof typeof configs & string, string, string, string]>([
    ["engine", "PIECEWISE_BUFFER_BYTES", "64 mb", "a size of at least 65536 bytes, such as 64MiB"],
    ["engine", "PIECEWISE_BUFFER_BYTES", "1KiB", "a size of at least 65536 bytes, such as 64MiB"],
    ["engine", "PIECEWISE_BUFFER_BYTES", "9000000 TiB", "a size of at least 65536 bytes, such as 64MiB"],
    ["engine", "PIECEWISE_READ_CACHE_BYTES", "-1", "a size of at least 0 bytes, such as 64MiB"],
    ["engine", "PIECEWISE_MAX_METADATA_BYTES", "much", "a size of at least 1 bytes, such as 64MiB"],
    ["engine", "PIECEWISE_MAX_CONNECTIONS", "0", "a whole number from 1 to 100000"],
    ["engine", "PIECEWISE_DOWNLOAD_LIMIT", "0", "a size of at least 1 bytes, such as 64MiB"],
    ["engine", "PIECEWISE_UPLOAD_LIMIT", "fast", "a size of at least 1 bytes, such as 64MiB"],
    ["engine", "PIECEWISE_LISTEN_PORT", "6889-6881", "a port from 0 to 65535, or a range such as 6881-6889"],
    ["engine", "PIECEWISE_LISTEN_PORT", "65536", "a port from 0 to 65535, or a range such as 6881-6889"],
    ["engine", "PIECEWISE_BIND", "localhost", "an IP address"],
    ["storage", "PIECEWISE_DIRECTORY", "", "PIECEWISE_DIRECTORY"],
    ["storage", "PIECEWISE_MAX_OPEN_FILES", "1.5", "a whole number from 1 to 1000000"],
    ["storage", "PIECEWISE_FOLLOW_LINKS", "perhaps", "PIECEWISE_FOLLOW_LINKS"],
    ["tracker", "PIECEWISE_TRACKER_TIMEOUT", "15", "a time such as 15 seconds"],
    ["source", "PIECEWISE_TRACKER_PEERS", "many", "a whole number from 1 to 10000"],
    ["udp", "PIECEWISE_UDP_PORT", "70000", "a whole number from 0 to 65535"],
    ["udp", "PIECEWISE_BIND", "eth0", "an IP address"],
    ["udp", "PIECEWISE_UDP_BIND", "127.0.0.1,eth0", "IP addresses with commas between them"],
    ["dht", "PIECEWISE_DHT", "perhaps", "PIECEWISE_DHT"],
    ["dht", "PIECEWISE_DHT_ROUTERS", "router.example", "addresses as HOST:PORT with commas between them, or none"],
    ["dht", "PIECEWISE_DHT_ROUTERS", "0.0.0.0:1", "addresses as HOST:PORT with commas between them, or none"],
    ["daemon", "PIECEWISE_IO_DAEMON_URL", "127.0.0.1:4710", "a URL such as http://127.0.0.1:4710"],
    ["daemon", "PIECEWISE_IO_DAEMON_URL", "http://127.0.0.1:4710/v1", "a URL such as http://127.0.0.1:4710"],
    ["daemonStorage", "PIECEWISE_IO_DAEMON_ROOT", "", "PIECEWISE_IO_DAEMON_ROOT"],
    ["daemonStorage", "PIECEWISE_IO_DAEMON_REQUESTS", "0", "a whole number from 1 to 1000"],
    ["daemonProcess", "PIECEWISE_IO_DAEMON", "", "PIECEWISE_IO_DAEMON"],
    ["daemonProcess", "PIECEWISE_IO_DAEMON_ROOTS", "/srv", "names of roots and their folders"],
    ["daemonProcess", "PIECEWISE_IO_DAEMON_ORIGINS", ",", "one or more texts with commas between them"]
  ])("of %s fails for a bad %s %j, and says what was expected", (config, name, value, expected) => {
    const message = wrong(configs[config]!(), { ...needed, [name]: value })

    assert.include(message, expected)
    assert.include(message, `"${name}"`)
  })

  it.each<[string, string]>([
    ["storage", "PIECEWISE_DIRECTORY"],
    ["resume", "PIECEWISE_DIRECTORY"],
    ["daemon", "PIECEWISE_IO_DAEMON_URL"],
    ["daemon", "PIECEWISE_IO_DAEMON_TOKEN"],
    ["daemonStorage", "PIECEWISE_IO_DAEMON_ROOT"],
    ["daemonProcess", "PIECEWISE_IO_DAEMON"],
    ["daemonProcess", "PIECEWISE_IO_DAEMON_ROOTS"]
  ])("of %s fails without %s", (config, name) => {
    const { [name]: _, ...others } = needed

    assert.include(wrong(configs[config]!(), others), `"${name}"`)
  })

  it("has the token redacted, and in no error", () => {
    const endpoint = right(IoDaemon.fromEnvironment(), needed)
    const message = wrong(IoDaemon.fromEnvironment(), { ...needed, PIECEWISE_IO_DAEMON_URL: "nowhere" })

    assert.notInclude(`${JSON.stringify(endpoint)} ${String(endpoint.token)} ${message}`, "secret")
    assert.strictEqual(Redacted.value(endpoint.token), "secret-token-0123456789")
  })

  it.effect("makes the layers of the providers", () =>
    Effect.gen(function* () {
      const layers = [
        FileSystemStorage.layerConfig().pipe(Layer.provide(NodePieceHasher.layer)),
        FileResumeStore.layerConfig(),
        ThreadedPieceHasher.layerConfig(),
        TcpTransport.layerConfig(),
        NodeTracker.layerConfig(),
        NodeUdpHub.layerConfig(),
        IoDaemon.layerConfig(),
        IoDaemonTransport.layerConfig().pipe(Layer.provide(IoDaemon.layerConfig()))
      ] as ReadonlyArray<Layer.Layer<never, Config.ConfigError>>
      for (const layer of layers) yield* Effect.scoped(Layer.build(layer))
    }).pipe(Effect.provideService(ConfigProvider.ConfigProvider, provider(needed)))
  )

  it.live("makes an engine on Node that listens where it is told", () =>
    Effect.gen(function* () {
      const directory = mkdtempSync(path.join(tmpdir(), "piecewise-config-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true })))
      const env = { PIECEWISE_DIRECTORY: directory, PIECEWISE_LISTEN_PORT: "0", PIECEWISE_BIND: "127.0.0.1" }

      const engine = yield* Effect.provide(
        Engine.Engine,
        NodeEngine.layerConfig().pipe(Layer.provide(ConfigProvider.layer(provider(env))))
      )

      assert.strictEqual(engine.listening?.host, "127.0.0.1")
    }).pipe(Effect.scoped)
  )

  it.effect("fails the layer of an engine with a typed error", () =>
    Effect.gen(function* () {
      const env = { PIECEWISE_DIRECTORY: "downloads", PIECEWISE_DOWNLOAD_LIMIT: "fast" }
      const layer = NodeEngine.layerConfig().pipe(Layer.provide(ConfigProvider.layer(provider(env))))

      const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))

      assert.strictEqual(error._tag, "ConfigError")
      assert.include(error.message, "PIECEWISE_DOWNLOAD_LIMIT")
    })
  )

  it.effect("takes names of one's own", () =>
    Effect.gen(function* () {
      const layer = NodeEngine.layerConfig({
        directory: Config.String("DOWNLOADS"),
        limits: { uploadBytesPerSecond: Config.ByteSize("UPLOAD") }
      }).pipe(Layer.provide(ConfigProvider.layer(provider({ DOWNLOADS: "downloads", UPLOAD: "slow" }))))

      const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))

      assert.include(error.message, `"UPLOAD"`)
    })
  )
})

describe("docs/configuration.md", () => {
  const rows = readFileSync(path.join(root, "docs/configuration.md"), "utf8").matchAll(
    /^\| `(PIECEWISE_\w+)` \|[^|]+\|[^|]+\| ([^|]+) \|$/gm
  )
  const documented = new Map(Array.from(rows, ([, name, readers]) => [name!, readers!] as const))

  it("lists every variable that a config reads, and no other", () => {
    const read = new Set<string>()
    // Keeps secrets from commands, and reads none.
    const keeper = "src/session/CompletionHooks.ts"
    for (const file of globSync("src/**/*.ts", { cwd: root })) {
      if (file === keeper) continue
      if (file.startsWith("src/cli") || file.startsWith("src/testing") || file.endsWith("NodeIoDaemon.ts")) continue
      const text = readFileSync(path.join(root, file), "utf8")
      for (const [, name] of text.matchAll(/"(PIECEWISE_[A-Z_]+)"/g)) read.add(name!)
    }

    assert.deepStrictEqual([...documented.keys()].sort(), [...read].sort())
  })

  it("names modules that read variables", () => {
    for (const [name, readers] of documented) {
      for (const [, module] of readers.matchAll(/`(\w+)`/g)) {
        const [file] = globSync(`src/**/${module}.ts`, { cwd: root })
        assert.isDefined(file, `${name}: ${module}`)
        assert.include(readFileSync(path.join(root, file!), "utf8"), "export const layerConfig", module)
      }
    }
  })
})
