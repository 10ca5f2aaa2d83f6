/* links.c - see links.h. */
#include "net/links.h"

#include "net/socket.h"

#define IO_THREADS 1u

static_assert(LINKS_REASON_SIZE == SOCKET_REASON_SIZE,
              "a socket's reason is the links'");
static_assert(LINKS_MAX + LINKS_WATCHED_MAX + LINKS_FDS_MAX <= SOCKET_WAIT_MAX,
              "all are waited for");
static_assert(LINKS_MAX >= MEMBERS_MAX, "a client may speak to every member");

struct link {
    void *socket;        /* NULL: not set */
    void *watch;         /* NULL: there are too many */
    bool is_lost, is_up; /* and not told yet */
    char address[ADDRESS_MAX + 1];
    uint8_t server_key[KEY_BYTES];
};

struct links {
    struct socket_keys keys;
    bool is_watched;
    void *context;
    struct link *links;   /* LINKS_MAX */
    uint32_t link_count;  /* above the highest one set */
    uint32_t next;        /* whose turn it is to be heard */
    uint32_t watch_count; /* ever */
};

enum err links_open(const struct links_cfg *cfg, struct links **out,
                    char *reason)
{
    *out = NULL;
    struct links *l = mem_alloc(sizeof *l);
    l->keys.is_insecure = cfg->is_insecure;
    l->is_watched = cfg->is_watched;
    memcpy(l->keys.public_key, cfg->public_key, KEY_BYTES);
    memcpy(l->keys.secret_key, cfg->secret_key, KEY_BYTES);
    l->links = mem_alloc(LINKS_MAX * sizeof *l->links);
    enum err err = socket_context(&l->keys, IO_THREADS, &l->context, reason);
    if (err != ERR_OK) {
        links_close(l);
        return err;
    }
    *out = l;
    return ERR_OK;
}

static void disconnect(struct link *k)
{
    if (k->socket != NULL)
        socket_unwatch(k->socket, k->watch);
    socket_close(k->socket);
    k->socket = NULL;
    k->watch = NULL;
    k->is_up = k->is_lost = false; /* news of the old socket */
}

void links_close(struct links *l)
{
    if (l == NULL)
        return;
    for (uint32_t i = 0; i < l->link_count; i++)
        disconnect(&l->links[i]);
    socket_context_close(l->context);
    mem_free(l->links);
    socket_keys_wipe(&l->keys);
    mem_free(l);
}

static bool connect_link(struct links *l, struct link *k)
{
    disconnect(k);
    k->socket =
        socket_dealer(l->context, &l->keys, SOCKET_CLIENT, k->server_key);
    if (k->socket == NULL)
        return false;
    if (l->is_watched && k < l->links + LINKS_WATCHED_MAX)
        k->watch = socket_watch(l->context, k->socket, l->watch_count++);
    if (socket_connect(k->socket, k->address))
        return true;
    disconnect(k);
    return false;
}

bool links_set(struct links *l, uint32_t link, const char *address,
               const uint8_t server_key[KEY_BYTES])
{
    if (link >= LINKS_MAX || strlen(address) > ADDRESS_MAX)
        return false;
    struct link *k = &l->links[link];
    if (k->socket != NULL && strcmp(k->address, address) == 0 &&
        memcmp(k->server_key, server_key, KEY_BYTES) == 0)
        return true;
    memcpy(k->address, address, strlen(address) + 1);
    memcpy(k->server_key, server_key, KEY_BYTES);
    if (link >= l->link_count)
        l->link_count = link + 1;
    return connect_link(l, k);
}

void links_reconnect(struct links *l, uint32_t link)
{
    /* Without sockets to be had it stays unconnected until the next time. */
    if (link < l->link_count && l->links[link].address[0] != 0)
        (void)connect_link(l, &l->links[link]);
}

bool links_send(struct links *l, uint32_t link, const struct wire_out *message)
{
    return link < l->link_count && l->links[link].socket != NULL &&
           socket_send(l->links[link].socket, span_of(NULL, 0), message, NULL);
}

void links_wait(struct links *l, int timeout_ms, const int *fds, size_t count,
                bool *ready)
{
    ASSERT(count <= LINKS_FDS_MAX);
    void *sockets[LINKS_MAX + LINKS_WATCHED_MAX];
    size_t socket_count = 0;
    for (uint32_t i = 0; i < l->link_count; i++) {
        if (l->links[i].socket != NULL)
            sockets[socket_count++] = l->links[i].socket;
        if (l->links[i].watch != NULL)
            sockets[socket_count++] = l->links[i].watch;
    }
    socket_wait(sockets, socket_count, fds, count, ready, timeout_ms);
}

void links_watch(struct links *l)
{
    for (uint32_t i = 0; i < l->link_count; i++) {
        struct link *k = &l->links[i];
        enum socket_news news = SOCKET_NEWS_NONE;
        while (k->watch != NULL &&
               (news = socket_news(k->watch)) != SOCKET_NEWS_NONE) {
            k->is_up = news == SOCKET_NEWS_UP;
            k->is_lost = k->is_lost || !k->is_up;
        }
    }
}

bool links_news(struct links *l, uint32_t *link, bool *is_up)
{
    for (uint32_t i = 0; i < l->link_count; i++) {
        struct link *k = &l->links[i];
        if (!k->is_lost && !k->is_up)
            continue;
        *link = i;
        *is_up = !k->is_lost;
        if (k->is_lost)
            k->is_lost = false;
        else
            k->is_up = false;
        return true;
    }
    return false;
}

bool links_recv(struct links *l, uint32_t *link, struct blob **blob)
{
    for (uint32_t tried = 0; tried < l->link_count;) {
        uint32_t at = l->next % l->link_count;
        enum socket_got got = SOCKET_GOT_NOTHING;
        struct socket_in in = {0};
        if (l->links[at].socket != NULL)
            got = socket_recv(l->links[at].socket, false, &in);
        l->next = at + 1;
        switch (got) {
        case SOCKET_GOT_NOTHING:
            tried++;
            break;
        case SOCKET_GOT_REFUSED:
            break;
        case SOCKET_GOT_MESSAGE:
            *link = at;
            *blob = in.blob;
            return true;
        }
    }
    return false;
}
