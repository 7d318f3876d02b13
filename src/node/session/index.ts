/**
 * The entry point for sessions on Node: `piecewise/session/node`. It loads Effect's SQL client, which programs without a
 * session do not need.
 */

export * as SqliteSessionStore from "../../session/provider/node/SqliteSessionStore.ts"
export * as NodeSession from "../NodeSession.ts"
