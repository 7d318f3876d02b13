/**
 * Opens a session in SQLite, and kills itself before a statement of its migrations: `FILE STATEMENT`, counted from 0. If
 * there is none of that number, it does so when all are made, before their transaction ends.
 */
import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"
import * as SessionMigrations from "../../../src/session/provider/node/SessionMigrations.ts"
import * as SqliteSessionStore from "../../../src/session/provider/node/SqliteSessionStore.ts"

const [file, number] = process.argv.slice(2)
let left = Number(number)

const die = () => process.kill(process.pid, "SIGKILL")

/** The same client, which counts. */
const counting = (sql: SqlClient.SqlClient): SqlClient.SqlClient =>
  new Proxy(sql, {
    get: (target, name) => {
      if (name !== "unsafe") return Reflect.get(target, name)
      return (text: string) => (left-- === 0 ? Effect.sync(die) : target.unsafe(text))
    }
  })

const migrations = SessionMigrations.all.map((migration, index) => {
  const counted = SqlClient.SqlClient.use((sql) => Effect.provideService(migration, SqlClient.SqlClient, counting(sql)))
  return index < SessionMigrations.all.length - 1 ? counted : Effect.andThen(counted, Effect.sync(die))
})

await Effect.runPromise(Effect.scoped(SqliteSessionStore.make({ file: file! }, migrations)))
