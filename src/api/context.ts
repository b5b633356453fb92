import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import type { Client } from './access/client-address.js';
import type { Scope } from './access/tokens.js';

/** Who asks. */
export interface Caller {
  /** Of the token; `socket` for who came through the control socket. */
  readonly id: string;
  readonly name: string;
  readonly scope: Scope;
  readonly via: 'token' | 'session' | 'socket';
}

/** What the middleware leaves for the routes. */
export interface ApiEnv {
  Bindings: HttpBindings;
  Variables: {
    client: Client;
    /** Null: nobody has said who he is. */
    identity: Caller | null;
    /** What a form of this session has to send; empty without a session. */
    csrf: string;
  };
}

export type ApiContext = Context<ApiEnv>;
