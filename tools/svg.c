/* svg.c - losses over steps as a small SVG: training loss, its running mean, validation. */
#include "tools/svg.h"

#include <math.h>
#include <stdio.h>

enum { WIDTH = 720, HEIGHT = 360, LEFT = 60, BOTTOM = 40, TOP = 30, RIGHT = 20 };

typedef struct {
    FILE  *f;
    double steps, top;
} plot;

static double px(const plot *p, double step)
{
    return (double)LEFT + (step - 1) / (p->steps > 1 ? p->steps - 1 : 1) * (double)(WIDTH - LEFT - RIGHT);
}

static double py(const plot *p, double v)
{
    v = v > p->top ? p->top : v;
    return HEIGHT - BOTTOM - v / p->top * (HEIGHT - BOTTOM - TOP);
}

/* A distance between marks of 1, 2 or 5 times a power of ten, so that there are four to ten. */
static double mark_step(double span)
{
    double unit = pow(10, floor(log10(span / 4)));

    return span / (5 * unit) >= 4 ? 5 * unit : span / (2 * unit) >= 4 ? 2 * unit : unit;
}

static void axes(const plot *p)
{
    double dx = mark_step(p->steps > 4 ? p->steps : 4), dy = mark_step(p->top);

    for (double v = 0; v <= p->top * 1.0001; v += dy)
        fprintf(p->f,
                "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' stroke='#ddd'/><text x='%d' y='%.1f' "
                "text-anchor='end'>%g</text>\n",
                LEFT, WIDTH - RIGHT, py(p, v), py(p, v), LEFT - 6, py(p, v) + 4, v);
    for (double s = dx; s <= p->steps; s += dx)
        fprintf(p->f, "<text x='%.1f' y='%d' text-anchor='middle'>%g</text>\n", px(p, s), HEIGHT - BOTTOM + 18, s);
    fprintf(p->f, "<text x='%d' y='%d' text-anchor='middle'>step</text><text x='%d' y='18'>loss</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, LEFT);
}

/* window 0: the values themselves; else their running mean. */
static void line(const plot *p, const double *v, size_t n, size_t window, const char *style)
{
    double sum = 0;

    fprintf(p->f, "<polyline fill='none' %s points='", style);
    for (size_t i = 0; i < n; i++) {
        size_t m = i + 1 < window ? i + 1 : window;

        sum += v[i] - (window > 0 && i >= window ? v[i - window] : 0);
        if (isfinite(window > 0 ? sum : v[i]))
            fprintf(p->f, "%.1f,%.1f ", px(p, (double)i + 1), py(p, window > 0 ? sum / (double)m : v[i]));
    }
    fprintf(p->f, "'/>\n");
}

bool svg_losses(const char *path, const double *loss, size_t n, const double *valid, size_t m)
{
    plot p = { fopen(path, "wb"), (double)n, 0 };

    if (p.f == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        p.top = isfinite(loss[i]) && loss[i] > p.top ? loss[i] : p.top;
    p.top = p.top > 0 ? p.top * 1.05 : 1;
    fprintf(p.f,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' font-size='12'>\n",
            WIDTH, HEIGHT);
    fprintf(p.f, "<rect width='100%%' height='100%%' fill='white'/>\n");
    axes(&p);
    line(&p, loss, n, 0, "stroke='#9bc' stroke-width='1'");
    line(&p, loss, n, n / 20 + 1, "stroke='#136' stroke-width='2'");
    for (size_t i = 0; i < m; i++)
        fprintf(p.f, "<circle cx='%.1f' cy='%.1f' r='4' fill='#c52'/>\n", px(&p, valid[2 * i]),
                py(&p, valid[2 * i + 1]));
    fprintf(p.f, "<text x='%d' y='18' text-anchor='end'>training%s</text>\n</svg>\n", WIDTH - RIGHT,
            m ? ", dots: validation" : "");
    return fclose(p.f) == 0;
}
