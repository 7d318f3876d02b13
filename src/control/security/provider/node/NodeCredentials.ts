/**
 * The token and the password in the state folder of a service: the files `token` and `password`, which only their owner
 * can read (`SecretFile.ts`). A token is made if there is none, and stays until its file is removed. The password is
 * kept as a hash (`PasswordHash.ts`), and may be changed by another process at any time.
 */
import * as Crypto from "node:crypto"
import * as Path from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Semaphore from "effect/Semaphore"
import * as Monotonic from "../../../../base/Monotonic.ts"
import {
  Credentials,
  CredentialsError,
  PasswordNotAllowed,
  type PasswordState,
  PasswordsBusy
} from "../../Credentials.ts"
import * as PasswordText from "../../PasswordText.ts"
import * as Secret from "../../Secret.ts"
import * as PasswordHash from "./PasswordHash.ts"
import * as SecretFile from "./SecretFile.ts"

/** Where the files are. */
export interface Options {
  /** The state folder. It is made if it is missing, for its owner alone. */
  readonly directory: string
  /** What new hashes cost; default `PasswordHash.defaultCost`. Tests need less. */
  readonly cost?: PasswordHash.Cost | undefined
}

/** Different passwords that wait to be checked or are: about 3 s of work. One takes 128 MiB while it is checked. */
const maxChecks = 8

/** How long the right password is remembered (milliseconds). Then it is hashed again. */
const rememberedFor = 300_000

/** How long the state of the file is taken for granted (milliseconds). */
const stateAge = 1_000

const sentences: Readonly<Record<string, string>> = {
  EACCES: "permission was denied",
  EDQUOT: "the disk quota is used up",
  EISDIR: "it is a folder",
  ENOSPC: "the disk is full",
  ENOTDIR: "a part of the path is not a folder",
  EPERM: "permission was denied",
  EROFS: "the disk is read-only"
}

const call = <A>(path: string, promise: () => Promise<A>): Effect.Effect<A, CredentialsError> =>
  Effect.tryPromise({
    try: promise,
    catch: (cause) => {
      const { code = "", message } = cause as NodeJS.ErrnoException
      return new CredentialsError({ path, why: sentences[code] ?? message })
    }
  })

/** Reads the token, or makes one. */
const readToken = (path: string) =>
  Effect.gen(function* () {
    yield* call(path, async () => (await SecretFile.version(path)) ?? SecretFile.create(path, `${Secret.make()}\n`))
    const content = yield* call(path, () => SecretFile.read(path))
    const token = content?.text.trim() ?? ""
    if (Secret.isSecret(token)) return token
    return yield* new CredentialsError({ path, why: "it has no token: remove it, and the next start makes a new one" })
  })

/** What the file of the password has, and since when that is known. */
interface Known {
  readonly version: string | undefined
  readonly hash: PasswordHash.PasswordHash | undefined
  readonly revision: number
  readonly at: number
}

const make = Effect.fnUntraced(function* ({ cost = PasswordHash.defaultCost, directory }: Options) {
  const scope = yield* Effect.scope
  const tokenPath = Path.join(directory, "token")
  const path = Path.join(directory, "password")
  const token = yield* readToken(tokenPath)
  /** Texts are compared and remembered by this, which says nothing to whoever has no key. */
  const key = Crypto.randomBytes(32)
  const digest = (text: string | Uint8Array) => Crypto.createHmac("sha256", key).update(text).digest()
  const tokenDigest = digest(token)

  let known: Known | undefined
  let remembered: { readonly digest: Buffer; readonly revision: number; readonly until: number } | undefined
  const reading = yield* Semaphore.make(1)
  const hashing = yield* Semaphore.make(1)
  const checks = new Map<string, Deferred.Deferred<boolean, CredentialsError>>()

  /** Reads the file if it has changed. */
  const load = reading.withPermits(1)(
    Effect.gen(function* () {
      const at = yield* Monotonic.now
      const version = yield* call(path, () => SecretFile.version(path))
      if (known !== undefined && known.version === version) {
        known = { ...known, at }
        return known
      }
      const content = version === undefined ? undefined : yield* call(path, () => SecretFile.read(path))
      const hash = content && PasswordHash.parse(content.text)
      if (content !== undefined && hash === undefined) {
        return yield* new CredentialsError({ path, why: "it has no hash of a password: set the password again" })
      }
      known = { version: content?.version, hash, revision: (known?.revision ?? 0) + 1, at }
      return known
    })
  )

  const stateOf = ({ hash, revision }: Known): PasswordState => ({ isSet: hash !== undefined, revision })

  const isRemembered = (found: Buffer, { revision }: Known, now: number) =>
    remembered !== undefined &&
    remembered.revision === revision &&
    remembered.until > now &&
    Crypto.timingSafeEqual(remembered.digest, found)

  /** Hashes one text at a time. It goes on if whoever asked is gone, because scrypt cannot be stopped. */
  const check = (bytes: Uint8Array, found: Buffer, { hash, revision }: Known) =>
    Effect.gen(function* () {
      const isRight = yield* hashing.withPermits(1)(call(path, () => PasswordHash.matches(bytes, hash!)))
      if (isRight) remembered = { digest: found, revision, until: (yield* Monotonic.now) + rememberedFor }
      return isRight
    })

  const isPassword = Effect.fnUntraced(function* (text: string) {
    const bytes = PasswordText.bytesOf(text)
    const state = yield* load
    if (bytes === undefined || state.hash === undefined) return false
    const found = digest(bytes)
    if (isRemembered(found, state, yield* Monotonic.now)) return true
    const name = `${state.revision} ${found.toString("hex")}`
    let result = checks.get(name)
    if (result === undefined) {
      if (checks.size >= maxChecks) return yield* new PasswordsBusy()
      result = Deferred.makeUnsafe()
      checks.set(name, result)
      yield* check(bytes, found, state).pipe(
        Effect.onExit(() => Effect.sync(() => checks.delete(name))),
        Deferred.into(result),
        Effect.forkIn(scope, { startImmediately: true })
      )
    }
    return yield* Deferred.await(result)
  })

  const changed = (change: Effect.Effect<void, CredentialsError>) =>
    Effect.gen(function* () {
      yield* change
      remembered = undefined
      yield* load
    })

  yield* load
  return Credentials.of({
    token: Redacted.make(token),
    isToken: (text) => Crypto.timingSafeEqual(digest(text), tokenDigest),
    password: Effect.gen(function* () {
      // Whoever has just set one may log in at once.
      const isFresh = known?.hash !== undefined && (yield* Monotonic.now) - known.at < stateAge
      return stateOf(isFresh ? known! : yield* load)
    }),
    isPassword,
    setPassword: Effect.fnUntraced(function* (text) {
      const why = PasswordText.whyNot(text)
      if (why !== undefined) return yield* new PasswordNotAllowed({ why })
      const bytes = PasswordText.bytesOf(text)!
      const hash = yield* hashing.withPermits(1)(call(path, () => PasswordHash.make(bytes, cost)))
      yield* changed(call(path, () => SecretFile.replace(path, PasswordHash.format(hash))))
    }),
    removePassword: changed(call(path, () => SecretFile.remove(path)))
  })
})

/** The credentials of a state folder. Fails with `CredentialsError` if its files cannot be used, or others can read them. */
export const layer = (options: Options): Layer.Layer<Credentials, CredentialsError> =>
  Layer.effect(Credentials, make(options))
