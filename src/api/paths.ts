/** The page and all that belongs to it: one prefix for whoever puts a proxy in front, and none of Postern's own. */
export const PAGE = '/audit-log';
export const LOGIN = `${PAGE}/login`;
export const LOGOUT = `${PAGE}/logout`;
